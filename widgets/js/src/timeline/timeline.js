// The timeline, which steers a run: where it stands, which step is shown, and its branches.
//
// What is shown (the state's "step" and "branch") and where the sampler stands (`_run`) are two
// things. What is shown goes with the run as long as it is where the run stands.

import { createFollower } from "../trace/follow.js";
import { createPosition } from "../trace/position.js";
import { layout } from "../trace/tree.js";
import { h } from "../ui/dom.js";
import { duration } from "../ui/format.js";
import { createTree } from "./branch-tree.js";
import { describe } from "./describe.js";
import { command } from "./keys.js";
import { createBranching, createHelp } from "./sheets.js";
import { createShow } from "./show.js";
import { createStatus } from "./status.js";
import { createBar } from "./toolbar.js";
import { createTrack } from "./track.js";

/** @typedef {import("../trace/trace.js").Trace} Trace */
/** @typedef {import("../trace/state.js").State} State */
/** @typedef {{type: "command", name: string, [more: string]: unknown}} Command */

const NARROW = 440; // pixels

/**
 * @param {HTMLElement} host
 * @param {() => Trace | undefined} current
 * @param {State} state reads and writes "step" and "branch", reads "_run"
 * @param {((command: Command) => void) | null} send null: a run that is over, only to be looked at
 * @returns {{update: () => void, close: () => void}} `update` is for when the trace has grown
 */
export function createTimeline(host, current, state, send) {
  let width = 0;

  const bar = createBar({ run: act, runTo, pace: (speed) => state.set("speed", speed) });
  const again = createShow(showNext, () => state.get("speed") ?? 5, update);
  const status = createStatus(() => {
    follower.begin();
    update();
  });
  const track = createTrack({ look: (at) => look(shown().branch, at), runTo, hover: hoverTrack });
  const tree = createTree({
    choose({ branch, column: at }, stand) {
      look(branch, at);
      if (stand && !running()) stand_(branch, at);
    },
    hover: (at) => status.point(at ? tell(at.branch, at.node) : ""),
    label: ({ branch, node }) => tell(branch, node),
  });
  const branching = createBranching(bar.branch, (branch, node, changes) => {
    follower.begin();
    order("branch", { node, branch: branch.id, changes });
  });
  const help = createHelp(bar.help);
  const root = h(
    "div",
    {
      class: "hdp hdp-timeline",
      role: "group",
      "aria-label": "Timeline",
      tabindex: -1,
      "data-lm-suppress-shortcuts": "true",
    },
    ...(send ? [bar.element, status.run] : []),
    track.element,
    status.shown,
    status.alert,
    tree.element,
    branching.element,
    help.element,
  );

  // --- what is there ---

  const position = createPosition(current, state);
  const { run, running, stood, shown, atRun } = position;
  const follower = createFollower(state, position, update);
  /** @param {number} branch @param {number} node */
  const tell = (branch, node) => describe(current(), branch, node);

  // --- what can be done ---

  /** @param {string} name @param {object} [more] */
  function order(name, more = {}) {
    send?.({ type: "command", name, ...more });
  }
  /** Shows a point of a branch. @param {number} branch @param {number} at steps made up to it */
  function look(branch, at) {
    again.stop();
    follower.look(branch, at);
    update();
  }
  /** Has the run stand at a point of a branch. @param {number} branch @param {number} at */
  function stand_(branch, at) {
    const place = stood();
    if (place?.branch === branch && place.at === at) return;
    order("goto", { branch, step: at - 1 });
    follower.begin();
  }
  /** @param {number} at steps made up to where the run shall pause */
  function runTo(at) {
    const { branch, path } = shown();
    if (at <= path.length && branch !== run().branch) return;
    if (branch !== run().branch) stand_(branch, path.length);
    follower.begin();
    order("run_to", { step: at - 1 });
  }
  /** The next step of a run that is watched again; says whether there is one. */
  function showNext() {
    const { branch, path, at } = shown();
    if (at < path.length) follower.look(branch, at + 1);
    return at + 1 < path.length;
  }
  function watch() {
    const { branch, path, at } = shown();
    if (at >= path.length) follower.look(branch, 0);
    again.start();
    update();
  }
  /** What the play button does. @returns {import("./toolbar.js").Play} */
  function plays() {
    const { index, total } = run();
    if (again.on || running()) return "pause";
    if (state.get("renews")) return "renew";
    return send && (index < total || !shown().path.length) ? "run" : "again";
  }
  function can() {
    const { index, total } = run();
    const renews = Boolean(state.get("renews"));
    const [left, busy] = [index < total || renews, running()];
    return {
      restart: index > 0,
      back: index > 0,
      toggle: busy || left || shown().path.length > 0,
      step: left && !busy,
      cancel: busy,
      branch: shown().node >= 0,
      runTo: index < total && !busy,
    };
  }

  /** @type {Record<string, () => void>} */
  const actions = {
    restart: () => go("restart"),
    back: () => go("back", { n: 1 }),
    toggle() {
      if (again.stop()) update();
      else if (running()) order("pause");
      else if (plays() === "again") watch();
      else go("play");
    },
    step: () => go("step", { n: 1 }),
    cancel: () => order("cancel"),
    branch() {
      const { branch, node, at } = shown();
      const known = current()?.branches.get(branch);
      help.hide(false);
      if (known) branching.open(known, node, at);
    },
    help() {
      branching.hide(false);
      if (help.element.hidden) help.show();
      else help.hide();
    },
  };
  /** @param {string} name @param {object} [more] */
  function go(name, more) {
    again.stop();
    follower.begin();
    order(name, more);
  }
  /** @param {string} name */
  function act(name) {
    const allowed = /** @type {Record<string, boolean>} */ (can());
    if (allowed[name] ?? true) actions[name]();
  }

  /** @param {boolean} repeated whether the key is held down */
  function next(repeated) {
    const { branch, path, at } = shown();
    if (at < path.length) return look(branch, at + 1);
    if (!send || repeated || running()) return;
    const place = stood();
    if (place && (place.branch !== branch || place.at !== at)) {
      if (at >= run().total) return;
      stand_(branch, at);
      go("step", { n: 1 });
    } else if (at < run().total) act("step"); // looking on beyond the end begins no new run
  }

  // --- events ---

  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
    const target = /** @type {HTMLElement} */ (event.target);
    const typed = target instanceof HTMLInputElement;
    const name = command(event);
    if (!name || (typed && name !== "escape")) return;
    if (name === "toggle" && target instanceof HTMLButtonElement) return; // presses that button
    const { branch, path, at } = shown();
    if (name === "escape") {
      if (track.stop() || again.stop()) update();
      else if (running()) order("cancel");
    } else if (name === "next") next(event.repeat);
    else if (name === "previous") look(branch, Math.max(0, at - 1));
    else if (name === "first") look(branch, 0);
    else if (name === "last") look(branch, path.length);
    else if (name === "help" || send) act(name);
    event.preventDefault();
  });
  root.addEventListener("keyup", (event) => event.stopPropagation());
  root.addEventListener("pointerdown", (event) => {
    const inside = /** @type {Node} */ (event.target);
    for (const sheet of [branching, help]) {
      if (!sheet.element.contains(inside) && !bar.element.contains(inside)) sheet.hide(false);
    }
  });

  /** @param {number | null} at @param {boolean} beyond */
  function hoverTrack(at, beyond) {
    if (at === null) return status.point("");
    const { branch, path, first } = shown();
    if (!beyond) return status.point(tell(branch, path[at - 1]?.node ?? first));
    const [more, pace] = [at - path.length, run().seconds_per_step];
    const time = pace ? `, about ${duration(more * pace)}` : "";
    status.point(`Run to step ${at}: ${more} more${time}`);
  }

  // --- showing ---

  function update() {
    root.classList.toggle("hdp-narrow", width < NARROW);
    const [trace, now] = [current(), run()];
    const seen = shown();
    const place = stood();
    const total = Math.max(now.total, seen.path.length, 1);
    if (running()) again.stop();
    bar.update(can(), plays(), state.get("speed") ?? 5, now.index, now.total);
    status.update(now, tell(seen.branch, seen.node), place !== null && !atRun());
    const onPath = place && seen.path[place.at - 1]?.node === place.node;
    const stands = place && (onPath || (place.at === 0 && seen.path[0]?.parent === place.node));
    track.draw(
      {
        path: seen.path,
        total,
        at: seen.at,
        run: place && (stands || place.node === seen.node) ? place.at : null,
        running: now.status === "running",
        runnable: send !== null && now.status !== "running" && seen.path.length < now.total,
      },
      Math.max(120, width),
    );
    if (!trace) return;
    tree.draw(
      layout(trace.branches.values(), trace.frames),
      { branch: seen.branch, node: seen.node },
      { branch: now.branch, node: now.node, running: now.status === "running" },
      total,
      Math.max(200, width),
    );
  }

  const stop = state.listen((name) => {
    if (name === "renews" || name === "speed") update();
  });
  const resized = new ResizeObserver(() => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    update();
  });
  host.append(root);
  width = root.clientWidth;
  follower.open();
  resized.observe(root);
  update();
  return {
    update() {
      follower.grown(current()?.opening.key);
      update();
    },
    close() {
      resized.disconnect();
      again.stop();
      stop();
      follower.close();
      root.remove();
    },
  };
}
