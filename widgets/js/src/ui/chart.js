// Charts without a library: scales, ticks, and the paths that are drawn with them.

/** @typedef {(value: number) => number} Scale */
/** @typedef {{value: number, text: string}} Tick */

/** Counts from here on are seen on a logarithmic axis: a single value has some height. */
const LEAST = 0.5;

/**
 * @param {[number, number]} domain where both ends are one number, all goes to the range's middle
 * @param {[number, number]} range
 * @returns {Scale}
 */
export function linear([low, high], [start, end]) {
  if (low === high) return () => (start + end) / 2;
  return (value) => start + ((value - low) / (high - low)) * (end - start);
}

/**
 * A scale for counts: from 0, or logarithmic from half a count on.
 * @param {number} most
 * @param {[number, number]} range
 * @param {boolean} log
 * @returns {Scale}
 */
export function counting(most, range, log) {
  const top = Math.max(most, 1);
  if (!log) return linear([0, top], range);
  const scale = linear([Math.log10(LEAST), Math.log10(top)], range);
  return (value) => (value <= LEAST ? range[0] : scale(Math.log10(value)));
}

/**
 * Round numbers between two, at a distance of 1, 2 or 5 times a power of ten.
 * @param {number} low
 * @param {number} high
 * @param {number} [most] how many at most
 * @param {boolean} [whole] only whole numbers
 * @returns {number[]}
 */
export function ticks(low, high, most = 5, whole = false) {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  let distance = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * (1 - 1e-9));
  distance ??= 10 * power;
  if (whole) distance = Math.max(1, Math.round(distance));
  const found = [];
  for (let n = Math.ceil(low / distance - 1e-9); n * distance <= high * (1 + 1e-9) + 1e-300; n++) {
    if (found.length > 50) break;
    found.push(n === 0 ? 0 : Number((n * distance).toPrecision(12)));
  }
  return found;
}

/**
 * Powers of ten up to a count.
 * @param {number} most
 * @returns {number[]}
 */
export function decades(most) {
  const found = [];
  for (let value = 1; value <= Math.max(most, 1); value *= 10) found.push(value);
  return found;
}

/**
 * The power of ten that an axis leaves to its title, so that its numbers stay short.
 * @param {number} largest
 * @returns {number} 0 where the numbers are short as they are
 */
export function exponent(largest) {
  const size = Math.abs(largest);
  if (!(size > 0) || !Number.isFinite(size)) return 0;
  const power = Math.floor(Math.log10(size));
  return power >= 4 || power <= -2 ? power : 0;
}

/**
 * The outline of a histogram, closed along its base.
 * @param {readonly number[]} counts
 * @param {[number, number]} edges of the whole
 * @param {Scale} x
 * @param {Scale} y
 */
export function stairs(counts, [low, high], x, y) {
  if (!counts.length) return "";
  const base = fixed(y(0));
  let path = `M${fixed(x(low))},${base}`;
  counts.forEach((count, i) => {
    const end = low + ((i + 1) / counts.length) * (high - low);
    path += `V${fixed(y(count))}H${fixed(x(end))}`;
  });
  return `${path}V${base}Z`;
}

/**
 * A line through points; it breaks where a value is missing.
 * @param {readonly [number, number | null][]} points
 * @param {Scale} x
 * @param {Scale} y
 */
export function line(points, x, y) {
  let path = "";
  let pen = false;
  for (const [at, value] of points) {
    if (value !== null) path += `${pen ? "L" : "M"}${fixed(x(at))},${fixed(y(value))}`;
    pen = value !== null;
  }
  return path;
}

/**
 * What a normal distribution would give as counts.
 * @param {number} mean
 * @param {number} std
 * @param {number} area number of values times the width of a bin
 * @param {[number, number]} between
 * @param {number} [pieces]
 * @returns {[number, number][]}
 */
export function normal(mean, std, area, [low, high], pieces = 160) {
  if (!(std > 0)) return [];
  const peak = area / (std * Math.sqrt(2 * Math.PI));
  return Array.from({ length: pieces + 1 }, (_, i) => {
    const at = low + (i / pieces) * (high - low);
    return [at, peak * Math.exp(-0.5 * ((at - mean) / std) ** 2)];
  });
}

/**
 * The share of a histogram that lies further from zero than `bound`; a bin that the bound divides
 * counts in part.
 * @param {readonly number[]} counts
 * @param {[number, number]} edges
 * @param {number} bound
 */
export function beyond(counts, [low, high], bound) {
  const width = (high - low) / counts.length;
  let [outside, all] = [0, 0];
  counts.forEach((count, i) => {
    const [start, end] = [low + i * width, low + (i + 1) * width];
    const inside = Math.max(0, Math.min(end, bound) - Math.max(start, -bound));
    outside += count * (1 - Math.min(1, inside / width));
    all += count;
  });
  return all ? outside / all : 0;
}

/**
 * Lowest and highest of the values that are there, with a little room around them.
 * @param {readonly (number | null)[]} values
 * @param {number} [room] share of their span
 * @returns {[number, number] | null} null where there are none
 */
export function extent(values, room = 0.06) {
  const found = values.filter((value) => value !== null && Number.isFinite(value));
  if (!found.length) return null;
  const low = Math.min(.../** @type {number[]} */ (found));
  const high = Math.max(.../** @type {number[]} */ (found));
  const more = high > low ? room * (high - low) : Math.abs(low) * 0.5 || 1;
  return [low - more, high + more];
}

/**
 * Labels of ticks, all with the same number of decimals.
 * @param {readonly number[]} values
 * @param {number} [power] of ten that the axis' title names
 * @returns {Tick[]}
 */
export function labelled(values, power = 0) {
  const scaled = values.map((value) => value / 10 ** power);
  const decimals = Math.max(
    0,
    ...scaled.map((value) => (String(Number(value.toPrecision(6))).split(".")[1] ?? "").length),
  );
  return values.map((value, i) => ({
    value,
    text: scaled[i].toFixed(Math.min(decimals, 4)).replace("-", "−"),
  }));
}

/** @param {number} value */
function fixed(value) {
  return Number(value.toFixed(2));
}
