// Queries to Python about regions: asked once the pointer rests, answers kept.

/** @typedef {import("../trace/maps.js").Grid} Grid */
/**
 * @typedef {object} Request
 * @property {string} key names the question: the region and how it is seen
 * @property {number} node
 * @property {number} level
 * @property {string | null} layer null for the mean over layers
 * @property {number | null} head null for the mean over heads
 * @property {boolean} painta with PAIntA's rescaling
 * @property {number[]} cells of the level's grid, row-major
 */
/** @typedef {{status: "asking" | "ready" | "error" | "away", grid: Grid | null, error: string}} Answer */

const REST = 150; // milliseconds
const KEPT = 256; // answers

/** @type {Answer} */
const ASKING = { status: "asking", grid: null, error: "" };
/** @type {Answer} */
const AWAY = { status: "away", grid: null, error: "" };

export class RegionQueries {
  /**
   * @param {((request: Request) => Promise<Grid>) | undefined} ask none where no model runs
   * @param {() => void} changed is called when an answer has come
   * @param {(call: () => void, delay: number) => () => void} [later] returns what calls it off
   */
  constructor(ask, changed, later = timer) {
    this.ask = ask;
    this.changed = changed;
    this.later = later;
    /** @type {Map<string, Answer>} */
    this.answers = new Map();
    this.wanted = "";
    this.stop = () => {};
  }

  /**
   * The answer to what is shown now. Only the latest question is put to Python.
   * @param {Request} request
   * @returns {Answer}
   */
  answer(request) {
    if (!this.ask) return AWAY;
    const key = `${request.key} ${request.node}`;
    const known = this.answers.get(key);
    if (known) {
      this.forget();
      return known;
    }
    if (this.wanted !== key) {
      this.stop();
      this.wanted = key;
      this.stop = this.later(() => this.#send(key, request), REST);
    }
    return ASKING;
  }

  /** Calls off a question that was not put yet. */
  forget() {
    this.stop();
    this.wanted = "";
  }

  /** Forgets failures, so that they are asked again. */
  retry() {
    for (const [key, { status }] of this.answers) if (status === "error") this.answers.delete(key);
    this.changed();
  }

  /** Forgets everything: another run came. */
  clear() {
    this.forget();
    this.answers.clear();
  }

  /** @param {string} key @param {Request} request */
  async #send(key, request) {
    const { answers } = this;
    try {
      const grid = await this.ask?.(request);
      if (!grid) return;
      answers.set(key, { status: "ready", grid, error: "" });
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      answers.set(key, { status: "error", grid: null, error: text });
    }
    const oldest = answers.keys().next().value;
    if (answers.size > KEPT && oldest !== undefined) answers.delete(oldest);
    this.changed();
  }
}

/** @param {() => void} call @param {number} delay */
function timer(call, delay) {
  const id = setTimeout(call, delay);
  return () => clearTimeout(id);
}
