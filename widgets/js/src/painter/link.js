// The painter's link with Python: the mask goes both ways, grids come on request.

import { decodeMask, encodeMask } from "../mask/packing.js";
import { bytesOf } from "../trace/trace.js";

/** @typedef {import("./editor.js").Editor} Editor */
/** @typedef {import("./grids.js").GridsMessage} GridsMessage */
/** @typedef {import("../trace/state.js").Model} Model */

export class Link {
  /**
   * @param {Model} model
   * @param {Editor} editor
   */
  constructor(model, editor) {
    this.model = model;
    this.editor = editor;
    this.steps = 0; // of the editor, counted here
    this.sending = false;
    this.own = false; // a change is being written by this side
    this.waiting = false;
    this.closed = false;
    /** Is told after a mask from Python was taken over, or one was sent. */
    this.onSynced = () => {};
    /** @type {(message: GridsMessage, buffers: DataView[]) => void} */
    this.onGrids = () => {};
    /** @type {(text: string) => void} is told why Python refused something */
    this.onNote = () => {};
  }

  /** Takes over the mask that the model holds, and listens from now on. */
  async open() {
    this.editor.start(await this.#held());
    for (const name of ["_mask", "_revision"]) this.model.on(`change:${name}`, this.#changed);
    this.model.on("msg:custom", this.#heard);
  }

  close() {
    this.closed = true;
    for (const name of ["_mask", "_revision"]) this.model.off(`change:${name}`, this.#changed);
    this.model.off("msg:custom", this.#heard);
  }

  /** Sends the mask as it is now; while one is on its way, only the newest waits. */
  async send() {
    this.steps++;
    if (this.sending) return;
    this.sending = true;
    try {
      for (let sent = -1; sent !== this.steps && !this.closed; ) {
        sent = this.steps;
        const bytes = await encodeMask(this.editor.mask.data);
        this.own = true;
        this.model.set("_mask", new DataView(bytes.buffer));
        this.model.set("_revision", this.model.get("_revision") + 1);
        this.own = false;
        this.model.save_changes();
      }
    } finally {
      this.own = false;
      this.sending = false;
    }
    this.onSynced();
  }

  /** Asks for the grids of the mask that was sent last. */
  askForGrids() {
    const { model } = this;
    const [revision, preset] = [model.get("_revision"), model.get("preset")];
    model.send({ type: "grids", revision, preset });
  }

  #changed = () => {
    if (this.own || this.waiting) return;
    this.waiting = true;
    queueMicrotask(() => {
      this.waiting = false;
      this.#receive();
    });
  };

  async #receive() {
    const { steps } = this;
    const [height, width] = this.model.get("_size");
    const { mask } = this.editor;
    if (mask.width !== width || mask.height !== height) return; // it belongs to another picture
    const revision = this.model.get("_revision");
    const pixels = await this.#held();
    // What was drawn meanwhile, or came meanwhile, is newer.
    if (this.closed || steps !== this.steps || revision !== this.model.get("_revision")) return;
    this.editor.replace(pixels, true);
    this.onSynced();
  }

  /** @param {any} content @param {DataView[]} buffers */
  #heard = (content, buffers) => {
    if (content?.type === "grids") this.onGrids(content, buffers);
    if (content?.type === "note") this.onNote(content.text);
  };

  #held() {
    const { mask } = this.editor;
    return decodeMask(bytesOf(this.model.get("_mask")), mask.width * mask.height);
  }
}
