/** Handshake messages in link frames (docs/protocol.md §4.1). */
import { NODE_ID_BYTES } from "../base/mod.ts";
import {
  buildFrame,
  Flag,
  fragment,
  type FrameOption,
  FrameType,
  OptionType,
  PLAIN_OVERHEAD,
} from "../l1_link/mod.ts";
import { HANDSHAKE_MESSAGE, type OutgoingMessage } from "../l4_trust/mod.ts";
import { splitNs } from "./wall_time.ts";

/** msg_type u8, version u8, length u16. */
const MESSAGE_HEADER_BYTES = 4;
/** In ACCEPT the client's connection id stands behind the server id, elsewhere it comes first. */
const ACCEPT_CONNECTION_ID_AT = MESSAGE_HEADER_BYTES + NODE_ID_BYTES;

/** Our connection id that an ACCEPT, FINISH or ALERT names; 0, which is nobody's, when it is cut. */
export function receiverConnectionId(type: number, message: Uint8Array): number {
  const at = type === HANDSHAKE_MESSAGE.accept ? ACCEPT_CONNECTION_ID_AT : MESSAGE_HEADER_BYTES;
  if (at + 4 > message.length) return 0;
  return new DataView(message.buffer, message.byteOffset).getUint32(at);
}

/**
 * Whole frames of one message: one frame, padded when the message asks for it, or fragments.
 * `connectionId` is the sender's own of this attempt. Sequence numbers count from there: fragments of
 * attempts at once between the same nodes and addresses differ in nothing else.
 */
export function frameHandshakeMessage(
  out: OutgoingMessage,
  connectionId: number,
  sourceId: Uint8Array,
  destId: Uint8Array,
  frameBytesMax: number,
  unixMs: number,
): Uint8Array[] {
  const { high, low } = splitNs(unixMs);
  const sequence = (connectionId + out.sequence) >>> 0;
  return fragment(out.message, frameBytesMax).map(({ bytes, offset, total, more }) => {
    const options: FrameOption[] = total === 0
      ? []
      : [{ type: OptionType.FRAGMENT_INFO, offset, total }];
    const payload = new Uint8Array(
      total === 0 ? Math.max(bytes.length, out.padTo - PLAIN_OVERHEAD) : bytes.length,
    );
    payload.set(bytes);
    return buildFrame(
      {
        type: FrameType.TRUST_HANDSHAKE,
        flags: more ? Flag.MORE_FRAGMENTS : 0,
        sequence,
        source: sourceId,
        dest: destId,
        timestampHigh: high,
        timestampLow: low,
      },
      options,
      payload,
    );
  });
}
