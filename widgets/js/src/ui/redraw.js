// One drawing before the next picture of the screen, however often it is asked for.

/**
 * @param {() => void} draw
 * @returns {(() => void) & {close: () => void}} asks for a drawing; after `close` none is made
 */
export function createRedraw(draw) {
  let asked = 0;
  function ask() {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      draw();
    });
  }
  return Object.assign(ask, {
    close() {
      cancelAnimationFrame(asked);
      asked = -1;
    },
  });
}
