// Whether what is shown goes with the run: until a person looks elsewhere, and again from when they
// look at where the run stands.

/** @typedef {import("./state.js").State} State */

/**
 * What is shown is the state's "step" and "branch". They also change when a linked view moves, which
 * says nothing about what the person wants as long as it moves to where the run stands.
 * @param {State} state
 * @param {ReturnType<typeof import("./position.js").createPosition>} position
 * @param {() => void} changed is called when what is shown may have changed
 */
export function createFollower(state, position, changed) {
  let following = true;
  let moving = false; // this side is changing what is shown
  let saving = false;
  /** @type {string | undefined} */
  let key;
  let stop = () => {};

  /** @param {boolean} now */
  function set(now) {
    following = now;
    if (saving || state.get("_following") === undefined) return;
    saving = true;
    queueMicrotask(() => {
      saving = false;
      state.set("_following", following);
      changed(); // what is shown depends on it while the trace of a new run is on its way
    });
  }
  /** @param {number} branch @param {number} at steps made up to it */
  function move(branch, at) {
    moving = true;
    state.set("branch", branch);
    state.set("step", at - 1);
    moving = false;
  }
  function follow() {
    const place = position.target();
    if (following && place && state.get("follow") !== false) move(place.branch, place.at);
  }

  return {
    /** Takes up what was left when the page was loaded, and listens from now on. */
    open() {
      following = state.get("_following") ?? ((state.get("step") ?? -1) < 0 || position.atRun());
      follow();
      stop = state.listen((name) => {
        if (moving) return;
        if (name === "step" || name === "branch") set(position.atRun());
        else if (name === "_run") follow();
        else return;
        changed();
      });
    },
    /** Goes with the run from now on: a person has given it an order, or has asked where it is. */
    begin() {
      set(true);
      follow();
    },
    /** A person looks at a point of a branch. @param {number} branch @param {number} at */
    look(branch, at) {
      move(branch, at);
      set(position.atRun());
    },
    /** More has arrived of a trace; another one is gone with. @param {string | undefined} of its key */
    grown(of) {
      if (key !== undefined && of !== undefined && of !== key) set(true);
      key = of ?? key;
      follow();
    },
    close() {
      stop();
    },
  };
}
