// Where the picture lies on the screen: screen = picture * scale + offset, in CSS pixels.

/** @typedef {{x: number, y: number}} Point */

export const ZOOM = 1.25;
const LARGEST = 40;

export class Viewport {
  /**
   * @param {number} width of the picture in pixels
   * @param {number} height
   */
  constructor(width, height) {
    this.picture = { width, height };
    this.screen = { width: 1, height: 1 };
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.fitted = true; // stays fitted when the screen changes its size
  }

  /** The scale at which the whole picture is seen. */
  get fitScale() {
    const { picture, screen } = this;
    return Math.min(screen.width / picture.width, screen.height / picture.height);
  }

  /**
   * @param {number} width
   * @param {number} height
   */
  resize(width, height) {
    this.screen = { width: Math.max(1, width), height: Math.max(1, height) };
    if (this.fitted) this.fit();
    else this.#keep();
  }

  fit() {
    this.scale = this.fitScale;
    this.fitted = true;
    this.#keep();
  }

  /**
   * Zooms by `factor`; what lies under `at` stays there.
   * @param {number} factor
   * @param {Point} [at] on the screen, its middle if left out
   */
  zoom(factor, at = { x: this.screen.width / 2, y: this.screen.height / 2 }) {
    const smallest = Math.min(this.fitScale, 1);
    const scale = Math.min(LARGEST, Math.max(smallest, this.scale * factor));
    this.x = at.x - ((at.x - this.x) * scale) / this.scale;
    this.y = at.y - ((at.y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = scale === this.fitScale;
    this.#keep();
  }

  /**
   * @param {number} dx on the screen
   * @param {number} dy
   */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#keep();
  }

  /**
   * Brings a point of the picture into view.
   * @param {Point} point
   */
  reveal(point) {
    const { x, y } = this.toScreen(point);
    const { width, height } = this.screen;
    this.pan(
      Math.max(0, 24 - x) + Math.min(0, width - 24 - x),
      Math.max(0, 24 - y) + Math.min(0, height - 24 - y),
    );
  }

  /**
   * @param {Point} p on the screen
   * @returns {Point} in the picture
   */
  toPicture(p) {
    return { x: (p.x - this.x) / this.scale, y: (p.y - this.y) / this.scale };
  }

  /**
   * @param {Point} p in the picture
   * @returns {Point} on the screen
   */
  toScreen(p) {
    return { x: p.x * this.scale + this.x, y: p.y * this.scale + this.y };
  }

  /** In the middle where there is room, otherwise without a gap larger than half the screen. */
  #keep() {
    /** @type {(at: number, size: number, room: number) => number} */
    const kept = (at, size, room) =>
      size <= room + 0.5 ? (room - size) / 2 : Math.min(room / 2, Math.max(room / 2 - size, at));
    this.x = kept(this.x, this.picture.width * this.scale, this.screen.width);
    this.y = kept(this.y, this.picture.height * this.scale, this.screen.height);
  }
}
