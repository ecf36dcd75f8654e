// Keeps keys that are pressed in a part of the page from the notebook around it, whose single
// letters cut cells, delete them and turn them into text.

const MARK = "data-lm-suppress-shortcuts";

/** Keys of the application that do nothing to a notebook's cells: saving, printing, side bars. */
const HARMLESS = { plain: ["s", "p", "b"], shifted: ["s", "c", "f"] };

/**
 * Whether a key with Ctrl or the command key is the application's business even so.
 * @param {{key: string, ctrlKey: boolean, metaKey: boolean, altKey: boolean, shiftKey: boolean}} event
 */
export function harmless({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  if (altKey || !(ctrlKey || metaKey)) return false;
  return HARMLESS[shiftKey ? "shifted" : "plain"].includes(key.toLowerCase());
}

/**
 * Shields an element and all that it ever holds.
 *
 * A notebook that listens on the way down looks at the focused element, which must be marked before
 * a key is pressed; one that listens on the way up is not told at all. Clicks beside the controls
 * would give the focus to the cell, so the element takes it.
 * @param {() => HTMLElement | null} find the element; it may come to stand on the page later
 * @returns {() => void} ends it
 */
export function shieldKeys(find) {
  /** @type {HTMLElement | null} */
  let root = null;
  /** @type {Element | null} */
  let focused = null;

  function shielded() {
    const now = find();
    if (now === root) return root;
    release();
    root = now;
    if (!root) return null;
    mark(root);
    if (!root.hasAttribute("tabindex")) {
      root.tabIndex = -1;
      root.style.outline = "none"; // it is no control, only what has the focus beside them
    }
    for (const type of KEYS) root.addEventListener(type, stop);
    root.addEventListener("focusout", left);
    return root;
  }
  function release() {
    for (const type of KEYS) root?.removeEventListener(type, stop);
    root?.removeEventListener("focusout", left);
  }

  /** Before anybody else hears of it. @param {Event} event */
  function watch(event) {
    const path = event.composedPath();
    const own = shielded();
    if (!own || !path.includes(own)) return;
    const target = /** @type {Element} */ (path[0]);
    if (event.type === "focusin") focused = target;
    if (event.type !== "keydown" || !harmless(/** @type {KeyboardEvent} */ (event))) mark(target);
    else letThrough(path);
  }

  /** @param {Event} event */
  function stop(event) {
    if (!harmless(/** @type {KeyboardEvent} */ (event))) event.stopPropagation();
  }

  /** A control that is hidden or removed while it has the focus leaves it to nobody. */
  function left() {
    const lost = focused;
    setTimeout(() => {
      const nobody = document.activeElement === document.body || !document.activeElement;
      if (nobody && lost === focused && root?.isConnected && lost && !usable(lost))
        root.focus({ preventScroll: true });
    });
  }

  for (const type of WATCHED) window.addEventListener(type, watch, true);
  return () => {
    for (const type of WATCHED) window.removeEventListener(type, watch, true);
    release();
  };
}

const KEYS = ["keydown", "keypress", "keyup"];
const WATCHED = ["pointerdown", "focusin", "keydown"];

/** @param {Element} element */
function mark(element) {
  element.setAttribute(MARK, "true");
}

/** Takes the marks away for as long as one key is looked at. @param {EventTarget[]} path */
function letThrough(path) {
  const elements = path.filter((one) => one instanceof Element);
  const marked = elements.filter((one) => one.hasAttribute(MARK));
  for (const one of marked) one.removeAttribute(MARK);
  setTimeout(() => {
    for (const one of marked) mark(one);
  });
}

/** @param {Element} element */
function usable(element) {
  const disabled = element.matches(":disabled");
  return element.isConnected && !disabled && element.getClientRects().length > 0;
}
