// The pictures of one lens: asked for when they are to be shown, and again when they change.

/** @typedef {import("../trace/state.js").Model} Model */
/** @typedef {{bitmap: ImageBitmap | null, failed: boolean}} Picture */

export class LensStore {
  /**
   * @param {Model} model
   * @param {() => void} changed is called when there is more, or something else, to show
   */
  constructor(model, changed) {
    this.model = model;
    this.changed = changed;
    this.closed = false;
    /** @type {Picture[]} */
    this.pictures = [];
    /** @type {ImageBitmap | null} */
    this.mask = null;
    /** Of the pictures that were asked for last. */
    this.revision = -1;
    model.on("msg:custom", this.#heard);
    model.on("change:_revision", this.#ask);
    this.#ask();
  }

  close() {
    this.closed = true;
    this.model.off("msg:custom", this.#heard);
    this.model.off("change:_revision", this.#ask);
    this.#empty();
  }

  #empty() {
    for (const { bitmap } of this.pictures) bitmap?.close();
    this.mask?.close();
    this.pictures = [];
    this.mask = null;
  }

  #ask = () => {
    const revision = this.model.get("_revision");
    if (revision === this.revision) return;
    this.revision = revision;
    this.model.send({ type: "want", revision });
  };

  /** @param {any} content @param {DataView[]} buffers */
  #heard = async (content, buffers) => {
    const { type, revision, index, mime } = content ?? {};
    if ((type !== "picture" && type !== "mask") || revision !== this.revision) return;
    const data = /** @type {any} */ (buffers[0]);
    const bitmap = await createImageBitmap(new Blob([data], { type: mime })).catch(() => null);
    // Old pictures stay until a new one is there.
    if (this.closed || revision !== this.revision) return bitmap?.close();
    if (type === "mask") {
      this.mask?.close();
      this.mask = bitmap;
    } else {
      this.pictures[index]?.bitmap?.close();
      this.pictures[index] = { bitmap, failed: !bitmap };
    }
    this.changed();
  };

  /** Lets go of what is beyond the present number of pictures. @param {number} count */
  keep(count) {
    for (const picture of this.pictures.splice(count)) picture?.bitmap?.close();
  }
}
