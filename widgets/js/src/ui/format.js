// Numbers, times and names as texts.

const NARROW = "\u00a0"; // between a number and its unit

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
 * A number in few letters, with a power of ten where it needs one: 0.0123, 1530, 2.4 × 10⁻⁵.
 * @param {number | null | undefined} value
 * @param {number} [digits] significant ones
 */
export function withPower(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5) {
    const text = size >= 10 ** digits ? String(Math.round(value)) : value.toPrecision(digits);
    return text.replace("-", "−");
  }
  const [mantissa, power] = value.toExponential(digits - 1).split("e");
  return `${mantissa.replace("-", "−")}${NARROW}×${NARROW}${tenTo(Number(power))}`;
}

/** @param {number} power */
export function tenTo(power) {
  const raised = [...String(power)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(c)]));
  return `10${raised.join("")}`;
}

/**
 * A time in words: 134 ms, 1.2 s, 2 min 5 s.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)}${NARROW}ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)}${NARROW}s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}${NARROW}s`;
  const [minutes, rest] = [Math.floor(whole / 60), whole % 60];
  if (minutes >= 60) return `${Math.floor(minutes / 60)}${NARROW}h ${minutes % 60}${NARROW}min`;
  return rest ? `${minutes}${NARROW}min ${rest}${NARROW}s` : `${minutes}${NARROW}min`;
}

/** @type {Record<string, string>} */
const METHODS = {
  painta: "PAIntA",
  rasg: "RASG",
  baseline: "without PAIntA and RASG",
  x4: "×4",
  blend: "latent blend",
  soft: "soft mask",
  poisson: "Poisson",
};

/**
 * A method in words: `painta+rasg` is "PAIntA + RASG".
 * @param {string} method
 */
export function methodSaid(method) {
  return method
    .split("+")
    .map((part) => METHODS[part] ?? part)
    .join(" + ");
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
