// Encoded pictures made ready to be drawn; the last ones are kept.

const KEPT = 64;

export class Pictures {
  /** @param {() => void} ready is called when a picture that was asked for can be drawn */
  constructor(ready) {
    this.ready = ready;
    /** @type {Map<Blob, ImageBitmap | null | false>} null while it is being decoded, false in vain */
    this.bitmaps = new Map();
    this.closed = false;
  }

  /**
   * @param {Blob | null} blob
   * @returns {ImageBitmap | null} null for now where it is not decoded yet
   */
  get(blob) {
    if (!blob) return null;
    const bitmap = this.bitmaps.get(blob);
    if (bitmap === undefined) this.#decode(blob);
    else if (bitmap) {
      this.bitmaps.delete(blob); // the newest are last
      this.bitmaps.set(blob, bitmap);
    }
    return bitmap || null;
  }

  /** Whether a picture will be there in a moment. @param {Blob | null} blob */
  waits(blob) {
    if (!blob) return false;
    this.get(blob);
    return this.bitmaps.get(blob) === null;
  }

  close() {
    this.closed = true;
    for (const bitmap of this.bitmaps.values()) if (bitmap) bitmap.close();
    this.bitmaps.clear();
  }

  /** @param {Blob} blob */
  async #decode(blob) {
    this.bitmaps.set(blob, null);
    const bitmap = await createImageBitmap(blob).catch(() => null);
    if (this.closed) return bitmap?.close();
    this.bitmaps.delete(blob);
    this.bitmaps.set(blob, bitmap ?? false);
    for (const [old, kept] of this.bitmaps) {
      if (this.bitmaps.size <= KEPT) break;
      if (!kept) continue;
      kept.close();
      this.bitmaps.delete(old);
    }
    this.ready();
  }
}
