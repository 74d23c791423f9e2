/** Packet payloads for fuzzing L3: a parsed frame written again, and frames made up by field. */
import type { SeededRandom } from "../../lib/base/mod.ts";
import * as f from "../../lib/l3_stream/frames/mod.ts";

/**
 * Writes a parsed frame again; its carried bytes come from `source`, where it was parsed. Returns
 * the offset behind it.
 */
export function appendFrame(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  frame: f.Frame,
  source: Uint8Array,
): number {
  const { type, stream } = frame;
  switch (type) {
    case f.CONN_INIT:
    case f.CONN_ACCEPT:
      return f.appendParameters(bytes, view, at, type, frame.parameters);
    case f.CONN_CLOSE:
      return f.appendClose(bytes, view, at, frame.error, carried(frame, source));
    case f.CONN_CLOSE_ACK:
      return f.appendCloseAck(bytes, at);
    case f.PATH_CHALLENGE:
    case f.PATH_RESPONSE:
      return f.appendPath(view, at, type, frame.tokenHigh, frame.tokenLow);
    case f.PATH_OPEN:
    case f.PATH_ACCEPT:
      return f.appendPathOpen(view, at, type, frame.path, frame.connectionId);
    case f.PATH_CLOSE:
      return f.appendPathClose(view, at, frame.path);
    case f.STREAM_OPEN:
      return f.appendStreamOpen(view, at, stream, frame.mode, frame.priority, frame.limit);
    case f.STREAM_ACK:
      return f.appendStreamAck(view, at, stream, frame.limit);
    case f.WINDOW_UPDATE:
      return f.appendWindowUpdate(view, at, stream, frame.limit);
    case f.STREAM_CLOSE:
      return f.appendStreamClose(view, at, stream, frame.finalSize);
    case f.STREAM_RESET:
      return f.appendStreamReset(view, at, stream, frame.error, frame.finalSize);
    case f.STREAM_CLOSE_ACK:
      return f.appendStreamCloseAck(view, at, stream);
    case f.STREAM_STOP:
      return f.appendStreamStop(view, at, stream, frame.error);
    case f.DATA_ACK:
      return f.appendAck(view, at, bytes.length, ackSource(frame), frame.ackDelayUs);
    case f.DATA_NACK:
      return f.appendNack(view, at, frame.ranges, frame.ranges.length / 2);
    case f.RECEIVER_REPORT:
      return f.appendReport(view, at, stream, frame.counts);
    case f.PING:
    case f.PONG:
      return f.appendPing(view, at, type, frame.id);
    case f.CONGESTION:
      return f.appendCongestion(view, at, frame.ce, frame.bytesInFlight);
    case f.DATA:
      at = f.appendDataHead(view, at, stream, frame.offset, frame.dataLength);
      return appendCarried(bytes, at, frame, source);
    case f.FEC: {
      const { symbol, sourceCount, repair, dataLength } = frame;
      at = f.appendFecHead(view, at, stream, symbol, sourceCount, repair, dataLength);
      return appendCarried(bytes, at, frame, source);
    }
    case f.MESSAGE: {
      const { mode, message, total, offset, dataLength } = frame;
      if (mode === f.MODE_PROBABILISTIC) {
        at = f.appendSymbolHead(view, at, stream, frame.symbol);
        view.setUint16(at, dataLength);
        return appendCarried(bytes, at + f.SYMBOL_LENGTH_BYTES, frame, source);
      }
      at = f.appendMessageHead(view, at, mode, stream, message, total, offset, dataLength);
      return appendCarried(bytes, at, frame, source);
    }
    default:
      bytes[at] = type;
      return at + 1;
  }
}

function carried({ dataAt, dataLength }: f.Frame, source: Uint8Array): Uint8Array {
  return source.subarray(dataAt, dataAt + dataLength);
}

function appendCarried(bytes: Uint8Array, at: number, frame: f.Frame, source: Uint8Array): number {
  bytes.set(carried(frame, source), at);
  return at + frame.dataLength;
}

function ackSource({ ranges, hasEcn, ect0, ect1, ce }: f.Frame): f.AckSource {
  return {
    count: ranges.length / 2,
    highAt: (i) => ranges[2 * i],
    lowAt: (i) => ranges[2 * i + 1],
    ect0: hasEcn ? ect0 : 0,
    ect1: hasEcn ? ect1 : 0,
    ce: hasEcn ? ce : 0,
  };
}

/** What a frame for a certain connection should name. */
export interface Hints {
  /** Streams by mode - 1: those that the sender of the frame opened, and the receiver's. */
  readonly own: readonly number[];
  readonly others: readonly number[];
  /** Packets that the receiver has sent. */
  readonly sent: number[];
  /** Type of the sender's parameters, and its node id. */
  readonly parametersType: number;
  readonly nodeId: Uint8Array;
  /** The last challenge that the receiver sent. */
  readonly token: readonly [number, number];
  /** Number for the next source symbol. */
  symbol: number;
}

const SAFE_MAX = Number.MAX_SAFE_INTEGER;
/** Values at which 32-bit fields, limits and windows go wrong. */
const EDGES = [0, 1, 63, 64, 65_535, 65_536, 2 ** 31 - 1, 2 ** 32 - 1];
const EDGES_U64 = [...EDGES, 2 ** 32, 2 ** 40, SAFE_MAX - 64, SAFE_MAX - 1, SAFE_MAX];
/** Bytes that frames carry; frames stay short, so that several fit. */
const DATA_BYTES_MAX = 300;
/** Largest message of a tame frame: parts of it can be held by the hundred. */
const TOTAL_MAX = 2_000;

const TAME_TYPES = [
  ...[f.DATA, f.DATA, f.MESSAGE, f.MESSAGE, f.MESSAGE, f.MESSAGE, f.PING, f.CONGESTION],
  ...[f.DATA_ACK, f.DATA_NACK, f.PATH_CHALLENGE, f.PATH_RESPONSE, f.WINDOW_UPDATE, f.PADDING],
  ...[f.STREAM_ACK],
];
const TYPES = [
  ...TAME_TYPES,
  ...[f.CONN_INIT, f.CONN_ACCEPT, f.PATH_OPEN, f.PATH_OPEN, f.PATH_ACCEPT, f.PATH_ACCEPT],
  ...[f.PATH_CLOSE, f.STREAM_OPEN, f.STREAM_CLOSE, f.STREAM_RESET, f.STREAM_CLOSE_ACK],
  ...[f.STREAM_STOP, f.FEC, f.FEC, f.RECEIVER_REPORT, f.PONG, f.CONN_CLOSE, f.CONN_CLOSE_ACK],
];

/** Makes up frames; one object serves many. */
export class FrameComposer {
  readonly #random: SeededRandom;
  readonly #frame = new f.Frame();
  readonly #data = new Uint8Array(f.SYMBOL_BYTES_MAX + DATA_BYTES_MAX);
  readonly #dataView = new DataView(this.#data.buffer);

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /**
   * Appends a frame and returns the offset behind it. `wild`: how often a field has an edge value
   * and a frame is of a kind that ends something.
   */
  append(bytes: Uint8Array, view: DataView, at: number, hints: Hints, wild: number): number {
    const random = this.#random;
    const frame = this.#frame;
    const types = random.chance(wild) ? TYPES : TAME_TYPES;
    frame.type = types[random.below(types.length)];
    this.#fill(frame, hints, wild);
    return appendFrame(bytes, view, at, frame, this.#data);
  }

  #fill(frame: f.Frame, hints: Hints, wild: number): void {
    const random = this.#random;
    const u64 = (tame: number) =>
      random.chance(wild) ? EDGES_U64[random.below(EDGES_U64.length)] : random.below(tame);
    const u32 = (tame: number) =>
      random.chance(wild) ? EDGES[random.below(EDGES.length)] : random.below(tame);
    const modeOf: Partial<Record<number, number>> = { [f.DATA]: 1, [f.FEC]: 4 };
    const modes = frame.type === f.MESSAGE && !random.chance(wild / 4) ? [2, 3, 4] : [1, 2, 3, 4];
    frame.mode = modeOf[frame.type] ?? modes[random.below(modes.length)];
    const ids = random.chance(0.7) ? hints.own : hints.others;
    const isAnswer = frame.type === f.STREAM_ACK || frame.type === f.RECEIVER_REPORT;
    frame.stream = random.chance(wild / 4)
      ? random.below(40) + (random.chance(0.5) ? f.SERVER_STREAM_ID_MIN : 0)
      : (isAnswer ? hints.others : ids)[frame.mode - 1];
    frame.priority = random.below(16);
    frame.limit = frame.type === f.WINDOW_UPDATE && random.chance(0.3)
      ? (frame.stream = 0, 2 ** 20)
      : u64(1_000_000) + 1 - (frame.mode === 4 ? 0 : 1);
    frame.finalSize = u64(8);
    frame.error = random.below(14);
    frame.message = u64(40);
    // One length for each message, or its parts contradict each other.
    frame.total = random.chance(wild / 4) ? u32(200_000) : frame.message * 7_919 % TOTAL_MAX;
    frame.dataLength = Math.min(frame.total, random.below(DATA_BYTES_MAX));
    if (frame.dataLength === 0 && frame.total > 0) frame.dataLength = 1;
    frame.offset = frame.type === f.DATA
      ? Math.min(u64(60_000), SAFE_MAX - frame.dataLength)
      : random.below(frame.total - frame.dataLength + 1);
    if (frame.type === f.MESSAGE && frame.mode === f.MODE_BEST_EFFORT && !random.chance(wild)) {
      frame.offset = 0;
      frame.total = frame.dataLength;
    }
    frame.dataAt = 0;
    if (frame.type === f.MESSAGE && frame.mode === f.MODE_PROBABILISTIC) {
      this.#fillSymbol(frame, hints, wild);
    }
    if (frame.type === f.FEC) {
      frame.sourceCount = 1 + random.below(random.chance(0.5) ? 3 : 64);
      frame.repair = random.below(64);
      frame.symbol = random.chance(wild)
        ? Math.min(u64(100), SAFE_MAX - frame.sourceCount)
        : Math.max(0, hints.symbol - random.below(80));
      frame.dataLength = random.chance(0.5) ? 60 : 3 + random.below(DATA_BYTES_MAX);
    }
    frame.id = u64(1_000);
    const isEcho = random.chance(0.5);
    frame.tokenHigh = isEcho ? hints.token[0] : random.u32();
    frame.tokenLow = isEcho ? hints.token[1] : random.u32();
    frame.path = u32(6);
    frame.connectionId = u32(1_000);
    frame.ackDelayUs = u32(30_000);
    frame.hasEcn = random.chance(0.2);
    frame.ect0 = u64(100);
    frame.ect1 = random.chance(wild) ? u64(2) : 0;
    frame.ce = u64(10);
    frame.bytesInFlight = u64(100_000);
    frame.counts.received = u64(10);
    frame.counts.recovered = u64(3);
    frame.counts.lost = u64(3);
    frame.counts.gaps = u64(3);
    this.#fillRanges(frame, hints, wild);
    const given = frame.parameters;
    given.version = random.chance(wild / 4) ? u32(3) : 1;
    given.nodeId.set(hints.nodeId);
    given.maxStreams = 16 + u32(100);
    given.maxData = Math.min(SAFE_MAX, 65_536 + u64(10_000_000));
    given.streamWindow = Math.min(SAFE_MAX, 65_536 + u64(1_000_000));
    given.streamMessages = Math.min(2 ** 32 - 1, 64 + u32(1_000));
    given.maxMessage = Math.min(2 ** 32 - 1, 65_536 + u32(1_000_000));
    given.maxAckDelayUs = u32(100_000);
    given.idleTimeoutMs = u32(60_000);
    given.maxPaths = random.below(20);
    if (frame.type === f.CONN_INIT && !random.chance(wild)) frame.type = hints.parametersType;
    if (frame.type === f.CONN_CLOSE) frame.dataLength = random.below(20);
  }

  /** Records: whole messages, or a part of one. */
  #fillSymbol(frame: f.Frame, hints: Hints, wild: number): void {
    const random = this.#random;
    frame.symbol = random.chance(wild / 4)
      ? EDGES_U64[random.below(EDGES_U64.length)]
      : random.chance(0.1)
      ? Math.max(0, hints.symbol - random.below(200))
      : (hints.symbol += random.chance(0.1) ? random.below(40) : 1);
    let at = 0;
    for (let count = 1 + random.below(4); count > 0; count--) {
      const isPart = (at === 0 || at < 100 && random.chance(wild)) && random.chance(0.5);
      const { message, total, offset } = frame;
      const length = isPart ? frame.dataLength : random.below(30);
      at = isPart
        ? f.appendRecordHead(this.#dataView, at, message, total, offset, length)
        : f.appendRecordHead(this.#dataView, at, frame.symbol % 1_000, length, 0, length);
      at += length;
    }
    frame.dataLength = at;
  }

  #fillRanges(frame: f.Frame, { sent }: Hints, wild: number): void {
    const random = this.#random;
    const { ranges } = frame;
    if (frame.type === f.DATA_ACK) {
      const isWild = sent.length === 0 || random.chance(wild / 4);
      const high = isWild ? random.below(2_000) : sent[random.below(sent.length)];
      // A single packet: what lies below may have been left out.
      ranges.splice(0, Infinity, high, isWild ? random.below(high + 1) : high);
      if (isWild && ranges[1] > 10) ranges.push(ranges[1] - 3, ranges[1] - 6);
    } else {
      ranges.length = 0;
      for (let count = 1 + random.below(f.NACK_RANGES_MAX); count > 0; count--) {
        const low = sent.length === 0 ? random.below(99) : sent[random.below(sent.length)];
        ranges.push(low + random.below(f.NACK_PACKETS_MAX), low);
      }
    }
  }
}
