// A run that is over, watched again step by step at a speed of one's choice.

/**
 * @param {() => boolean} next shows the next step; says whether there is another one after it
 * @param {() => number} speed steps a second
 * @param {() => void} changed is called after each step
 */
export function createShow(next, speed, changed) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let planned;

  function plan() {
    planned = setTimeout(() => {
      planned = undefined;
      if (next()) plan();
      changed();
    }, 1000 / speed());
  }

  return {
    get on() {
      return planned !== undefined;
    },
    start() {
      if (planned === undefined) plan();
    },
    /** @returns {boolean} whether it was on */
    stop() {
      const was = planned !== undefined;
      clearTimeout(planned);
      planned = undefined;
      return was;
    },
  };
}
