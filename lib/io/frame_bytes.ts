/** What the portable twins of the native burst helpers need to know of a frame's bytes. */
import {
  FRAME_BYTES_MIN,
  FRAME_LENGTH_AT,
  OPTIONS_BYTES_MAX,
  OPTIONS_LENGTH_AT,
} from "../l1_link/mod.ts";

const views = new WeakMap<Uint8Array, DataView>();

/** A view of all of `bytes`, kept as long as they are, so that the hot path makes none. */
export function viewOf(bytes: Uint8Array): DataView {
  let view = views.get(bytes);
  if (view === undefined) {
    view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    views.set(bytes, view);
  }
  return view;
}

/** Length of a frame's options, -1 when its lengths do not fit each other or the memory. */
export function optionsLengthOf(view: DataView, offset: number, length: number): number {
  if (length < FRAME_BYTES_MIN || offset + length > view.byteLength) return -1;
  if (view.getUint32(offset + FRAME_LENGTH_AT) !== length) return -1;
  const options = view.getUint16(offset + OPTIONS_LENGTH_AT);
  return options > OPTIONS_BYTES_MAX || options > length - FRAME_BYTES_MIN ? -1 : options;
}
