// Traces read from a saved page.

import { Trace } from "./trace.js";

/**
 * @param {string} json `{title, films: [{opening, frames, lengths}]}`
 * @param {(number: number) => string} codeOf base64 of all buffers of a trace, one after another
 * @returns {{title: string, traces: Trace[]}}
 */
export function tracesOf(json, codeOf) {
  const { title, films } = JSON.parse(json);
  return {
    title,
    traces: films.map(
      /** @param {{opening: any, frames: any[], lengths: number[]}} saved @param {number} i */
      ({ opening, frames, lengths }, i) => {
        const buffers = splitBuffers(bytesOfBase64(codeOf(i)), lengths);
        const trace = new Trace(opening, buffers);
        trace.add(frames, buffers);
        return trace;
      },
    ),
  };
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {number[]} lengths
 * @returns {DataView[]}
 * @throws {RangeError} the lengths and the bytes do not agree: a part of the file is missing
 */
export function splitBuffers(bytes, lengths) {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  if (total !== bytes.length)
    throw new RangeError(`${bytes.length} bytes are here, ${total} are named: the file is cut off`);
  let start = 0;
  return lengths.map((length) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset + start, length);
    start += length;
    return view;
  });
}

/** @param {string} code */
function bytesOfBase64(code) {
  const text = atob(code.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
