// Numbers and names as they are shown.

/**
 * A number in few characters.
 * @param {number | null | undefined} value
 */
export function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 10_000 || size < 0.001) return minus(value.toExponential(1).replace("e+", "e"));
  return minus(String(Number(value.toPrecision(3))));
}

/**
 * With a true minus sign, as wide as a plus.
 * @param {string} text
 */
function minus(text) {
  return text.replace(/-/g, "−");
}

/**
 * Layers in a few words: `up_blocks.1.attentions.0.transformer_blocks.0` is "up 1 · attention 0".
 * @param {string[]} layers
 * @returns {string[]} the blocks inside are named where an attention has several
 */
export function layerNames(layers) {
  const parts = layers.map((layer) => {
    const found = /^(\w+?)_blocks?(?:\.(\d+))?\.attentions\.(\d+)(?:\.\w+\.(\d+))?/.exec(layer);
    if (!found) return { name: layer, block: "" };
    const [, side, at, attention, block = ""] = found;
    return { name: `${[side, at].filter(Boolean).join(" ")} · attention ${attention}`, block };
  });
  return parts.map(({ name, block }) => {
    const several = parts.filter((other) => other.name === name).length > 1;
    return several && block ? `${name} · block ${block}` : name;
  });
}
