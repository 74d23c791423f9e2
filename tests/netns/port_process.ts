/**
 * A process with ports, on one side of a wire, that does what the test says: a JSON command per
 * line on its input, a JSON answer per line on its output.
 */
import type { SocketAddress } from "../../lib/base/mod.ts";
import { toHex } from "../../lib/base/mod.ts";
import { openBestPort, type PortKind } from "../../lib/io/open_port.ts";
import {
  buildFrame,
  Burst,
  decodeFrame,
  DESCRIPTOR_ECN_MASK,
  Flag,
  fragment,
  FrameError,
  FrameInfo,
  FrameType,
  type HeaderFields,
  OptionType,
  PLAIN_OVERHEAD,
  Pool,
  type Port,
  type PortStats,
  Reassembler,
  SLOT_BYTES,
} from "../../lib/l1_link/mod.ts";

/** Port ids are the test's own. */
export type Command =
  | { do: "open"; id: string; kind: PortKind; listen: SocketAddress; vni: number }
  | { do: "send"; id: string; to: SocketAddress; frames: SentFrame[] }
  | { do: "sendMessage"; id: string; to: SocketAddress; bytes: number; frameBytesMax: number }
  /** Receives until the frame with this sequence number is there. */
  | { do: "receiveUntil"; id: string; sequence: number }
  | { do: "receiveMessage"; id: string }
  | { do: "stats"; id: string };

export interface SentFrame {
  readonly sequence: number;
  /** Whole frame. */
  readonly length: number;
  /** ECN field of the IP header, 0 … 3. */
  readonly ecn?: number;
}

export interface ReceivedFrame {
  readonly sequence: number;
  readonly length: number;
  readonly ecn: number;
  /** The receive time of the descriptor is set. */
  readonly timed: boolean;
}

/** What each command is answered with. */
export interface Answers {
  open: SocketAddress;
  send: null;
  sendMessage: { frames: number };
  receiveUntil: ReceivedFrame[];
  receiveMessage: { hex: string; frames: number };
  stats: PortStats;
}

/** Bytes of the message that sendMessage sends. */
export function messageBytes(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => i * 31 + (i >> 8));
}

const ports = new Map<string, Port>();

async function obey(command: Command): Promise<unknown> {
  if (command.do === "open") {
    const { kind, listen, vni } = command;
    const pool = new Pool({ slotBytes: SLOT_BYTES.jumbo, slots: 256 });
    const { port } = await openBestPort({ kind, listen, vni, pool, timestamps: true });
    ports.set(command.id, port);
    return port.localAddress;
  }
  const port = ports.get(command.id)!;
  switch (command.do) {
    case "send":
      await send(
        port,
        command.to,
        command.frames.map(({ sequence, length, ecn = 0 }) => ({
          ecn,
          bytes: buildFrame({ sequence }, [], new Uint8Array(length - PLAIN_OVERHEAD)),
        })),
      );
      return null;
    case "sendMessage": {
      const frames = messageFrames(command.bytes, command.frameBytesMax);
      await send(port, command.to, frames.map((bytes) => ({ bytes, ecn: 0 })));
      return { frames: frames.length };
    }
    case "receiveUntil":
      return await receiveUntil(port, command.sequence);
    case "receiveMessage":
      return await receiveMessage(port);
    case "stats":
      return port.stats();
  }
}

function messageFrames(bytes: number, frameBytesMax: number): Uint8Array[] {
  return fragment(messageBytes(bytes), frameBytesMax).map(({ offset, total, more, bytes }) => {
    const fields: Partial<HeaderFields> = { type: FrameType.TRUST_HANDSHAKE };
    if (more) fields.flags = Flag.MORE_FRAGMENTS;
    return buildFrame(fields, [{ type: OptionType.FRAGMENT_INFO, offset, total }], bytes);
  });
}

async function send(
  port: Port,
  to: SocketAddress,
  frames: { bytes: Uint8Array; ecn: number }[],
): Promise<void> {
  const burst = new Burst();
  const peer = port.peer(to);
  for (const { bytes, ecn } of frames) {
    const slot = port.pool.alloc();
    const offset = port.pool.frameOffsetOf(slot);
    port.pool.bytes.set(bytes, offset);
    burst.push(slot, offset, bytes.length, ecn, peer);
  }
  while (burst.count > 0) {
    burst.shift(port.txBurst(burst));
    if (burst.count > 0) await port.wait(Infinity);
  }
}

const info = new FrameInfo();

/** Hands each frame that arrives to `take` until it says that it has enough. */
async function receive(
  port: Port,
  take: (frame: ReceivedFrame) => boolean,
): Promise<void> {
  const burst = new Burst();
  for (;;) {
    const count = port.rxBurst(burst);
    let enough = false;
    for (let i = 0; i < count; i++) {
      const { bytes, view } = port.pool;
      const code = decodeFrame(bytes, view, burst.offset[i], burst.length[i], info);
      if (code !== FrameError.OK) throw new Error(`a frame arrived as ${FrameError[code]}`);
      enough = take({
        sequence: info.sequence,
        length: info.length,
        ecn: burst.flags[i] & DESCRIPTOR_ECN_MASK,
        timed: burst.timeHigh[i] !== 0,
      }) || enough;
      port.pool.free(burst.slot[i]);
    }
    if (enough) return;
    if (count === 0) await port.wait(Infinity);
  }
}

async function receiveUntil(port: Port, sequence: number): Promise<ReceivedFrame[]> {
  const frames: ReceivedFrame[] = [];
  await receive(port, (frame) => {
    frames.push(frame);
    return frame.sequence === sequence;
  });
  return frames;
}

async function receiveMessage(port: Port): Promise<{ hex: string; frames: number }> {
  const reassembler = new Reassembler();
  let message: Uint8Array | undefined;
  let frames = 0;
  await receive(port, () => {
    frames++;
    message ??= reassembler.add("wire", info, port.pool.bytes, 0);
    return message !== undefined;
  });
  return { hex: toHex(message!), frames };
}

if (import.meta.main) {
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) console.log(JSON.stringify(await obey(JSON.parse(line))));
  }
  for (const port of ports.values()) await port.close();
}
