// The steps of one branch on a line: which is shown, where the run stands, what each one took.

import { linear } from "../ui/chart.js";
import { h, put, s } from "../ui/dom.js";
import { duration } from "../ui/format.js";

/** @typedef {import("../trace/trace.js").Frame} Frame */
/**
 * @typedef {object} Shown
 * @property {Frame[]} path
 * @property {number} total steps of the whole run
 * @property {number} at steps made up to what is shown
 * @property {number | null} run steps made up to where the run stands; null: on another branch
 * @property {boolean} running
 * @property {boolean} runnable whether clicking beyond the newest step means something
 */

const PAD = 16;
const LONGEST = 3; // medians; what takes longer is drawn as a broken bar
const [LINE, BARS, LOW, HEIGHT] = [17, 29, 51, 54];

/**
 * @param {object} does
 * @param {(at: number) => void} does.look steps made up to what shall be shown
 * @param {(at: number) => void} does.runTo
 * @param {(at: number | null, beyond: boolean) => void} does.hover null when the pointer has left
 */
export function createTrack({ look, runTo, hover }) {
  const rest = s("line", { class: "hdp-rest", y1: LINE, y2: LINE });
  const made = s("line", { class: "hdp-made", y1: LINE, y2: LINE });
  const ghost = s("line", { class: "hdp-ghost", y1: LINE, y2: LINE });
  const points = s("path", { class: "hdp-points" });
  const bars = s("g", { class: "hdp-times" });
  const floor = s("line", { class: "hdp-floor", y1: LOW + 0.5, y2: LOW + 0.5 });
  const thumb = s("circle", { class: "hdp-shown", cy: LINE, r: 6 });
  const stand = s("path", { class: "hdp-stands", d: "M-5,-13H5L0,-6Z" });
  const target = s("path", { class: "hdp-target", d: "M-5,-13H5L0,-6Z" });
  const drawing = s(
    "svg",
    { height: HEIGHT, "aria-hidden": "true" },
    rest,
    made,
    ghost,
    points,
    floor,
    bars,
    thumb,
    target,
    stand,
  );
  const element = h(
    "div",
    { class: "hdp-track", role: "slider", tabindex: 0, "aria-label": "Step shown" },
    drawing,
  );

  /** @type {Shown} */
  let shown = { path: [], total: 0, at: 0, run: null, running: false, runnable: false };
  let wide = 0;
  let across = linear([0, 1], [PAD, PAD]);
  /** @type {number | null} */
  let pointed = null;
  let dragging = false;

  /** @param {PointerEvent} event */
  function where(event) {
    const x = event.clientX - drawing.getBoundingClientRect().left;
    const share = (x - PAD) / Math.max(1, wide - 2 * PAD);
    const at = Math.round(share * shown.total);
    return Math.min(shown.runnable ? shown.total : shown.path.length, Math.max(0, at));
  }
  const beyond = () => pointed !== null && pointed > shown.path.length;

  function point() {
    const far = beyond();
    target.style.display = ghost.style.display = far ? "" : "none";
    if (far && pointed !== null) {
      put(target, { transform: `translate(${across(pointed)},${LINE})` });
      put(ghost, { x1: across(shown.path.length), x2: across(pointed) });
    }
    for (const [i, bar] of [...bars.children].entries())
      bar.classList.toggle("hdp-pointed", pointed === i + 1);
    hover(pointed, far);
  }

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    dragging = true;
    element.setPointerCapture(event.pointerId);
    pointed = where(event);
    if (!beyond()) look(pointed);
    point();
  });
  element.addEventListener("pointermove", (event) => {
    const now = where(event);
    if (now === pointed) return;
    pointed = now;
    if (dragging && !beyond()) look(now);
    point();
  });
  element.addEventListener("pointerup", (event) => {
    if (!dragging) return;
    dragging = false;
    if (beyond() && pointed !== null) runTo(pointed);
    if (event.pointerType !== "mouse") pointed = null;
    point();
  });
  for (const name of /** @type {const} */ (["pointerleave", "pointercancel"])) {
    element.addEventListener(name, () => {
      if (name === "pointerleave" && dragging) return;
      stop();
    });
  }

  /** Gives up a drag. */
  function stop() {
    const was = dragging;
    dragging = false;
    pointed = null;
    point();
    return was;
  }

  return {
    element,
    stop,
    /** @param {Shown} next @param {number} width in pixels */
    draw(next, width) {
      shown = next;
      wide = width;
      const { path, total, at, run } = shown;
      across = linear([0, Math.max(1, total)], [PAD, width - PAD]);
      const gap = (width - 2 * PAD) / Math.max(1, total);
      put(drawing, { width, viewBox: `0 0 ${width} ${HEIGHT}` });
      put(rest, { x1: across(0), x2: across(total) });
      put(made, { x1: across(0), x2: across(path.length) });
      put(floor, { x1: across(0), x2: across(total) });
      const marks = gap >= 5 ? Array.from({ length: total + 1 }, (_, i) => i) : [];
      put(points, { d: marks.map((i) => `M${across(i).toFixed(1)},${LINE}h0`).join("") });
      put(thumb, { cx: across(at) });
      stand.style.display = run === null ? "none" : "";
      put(stand, { transform: `translate(${across(run ?? 0)},${LINE})` });
      stand.classList.toggle("hdp-running", shown.running);
      measure(path, gap);
      put(element, {
        "aria-valuemin": 0,
        "aria-valuemax": path.length,
        "aria-valuenow": at,
        "aria-valuetext": at
          ? `step ${at} of ${total}, ${path.length} made`
          : `before the first step, ${path.length} made`,
      });
      if (pointed !== null) point();
    },
  };

  /** @param {Frame[]} path @param {number} gap */
  function measure(path, gap) {
    const times = path.map((frame) => frame.seconds).sort((a, b) => a - b);
    const median = times[times.length >> 1] ?? 0;
    // The first step is often slower by far, which would make all others look alike.
    const most = Math.max(Math.min(times[times.length - 1] ?? 0, LONGEST * median), 1e-9);
    while (bars.children.length > path.length) bars.lastElementChild?.remove();
    const size = Math.max(1, Math.min(14, gap - (gap > 4 ? 2 : 0.5)));
    path.forEach(({ seconds }, i) => {
      let bar = bars.children[i];
      if (!bar) {
        bar = s("path", {}, s("title"));
        bars.append(bar);
      }
      const top = LOW - Math.max(1.5, Math.min(1, seconds / most) * (LOW - BARS));
      const left = (across(i + 1) - size / 2).toFixed(2);
      const box = (/** @type {number} */ from, /** @type {number} */ to) =>
        `M${left},${from.toFixed(2)}h${size.toFixed(2)}V${to.toFixed(2)}h${-size.toFixed(2)}Z`;
      const cut = seconds > most; // drawn as a broken bar
      put(bar, { d: cut ? box(top, top + 4) + box(top + 6, LOW) : box(top, LOW) });
      const label = `step ${i + 1}: ${duration(seconds)}`;
      if (bar.firstChild && bar.firstChild.textContent !== label)
        bar.firstChild.textContent = label;
    });
  }
}
