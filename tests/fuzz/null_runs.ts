/** Runs under a null protection: what nx_open_run (ffi/native/run.c) does to a train, frame by frame. */
import {
  decodeFrame,
  Flag,
  FrameError,
  FrameInfo,
  FrameType,
  OVERLAY_BYTES,
  SEALED_PAYLOAD_OFFSET,
  STREAM_ID_AT,
} from "../../lib/l1_link/mod.ts";
import { DATA, DATA_HEAD_BYTES } from "../../lib/l3_stream/frames/mod.ts";
import {
  type Landing,
  OPEN_REPLAYED,
  type PacketRuns,
  RunResult,
} from "../../lib/l3_stream/mod.ts";
import { NullProtection } from "../sim/null_protection.ts";
import { Finding } from "./fuzzer.ts";

const RESULT_WORDS = 10;
/** Results of one open call at most (NX_RESULTS_MAX). */
const RESULTS_MAX = 64;

/** A NullProtection that opens trains. Connections under it get no RunBuffers, so they seal no runs. */
export class TrainProtection extends NullProtection {
  openRuns(_sealHeader: Uint8Array, openHeader: Uint8Array): PacketRuns {
    const header = new DataView(openHeader.buffer, openHeader.byteOffset);
    return new NullRuns(this, header.getUint32(STREAM_ID_AT));
  }
}

class NullRuns implements PacketRuns {
  readonly #protection: NullProtection;
  readonly #connectionId: number;
  readonly #info = new FrameInfo();

  constructor(protection: NullProtection, connectionId: number) {
    this.#protection = protection;
    this.#connectionId = connectionId;
  }

  seal(): number {
    throw new Finding("a run is sealed without buffers for it");
  }

  sealFrame(): void {
    this.seal();
  }

  open(bytes: Uint8Array, landing: Landing): number {
    const { words } = landing;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const segment = words[2] || words[1] + OVERLAY_BYTES;
    for (words[6] = 0; words[6] < RESULTS_MAX; words[3]++) {
      const from = words[3] * segment;
      const length = Math.min(segment - OVERLAY_BYTES, words[1] - from);
      if (from >= words[1] || length > words[5] - words[4]) break;
      this.#openFrame(bytes, view, words[0] + from, length, landing);
    }
    return words[6];
  }

  #openFrame(
    bytes: Uint8Array,
    view: DataView,
    at: number,
    length: number,
    landing: Landing,
  ): void {
    const info = this.#info;
    const { words } = landing;
    const isOurs = decodeFrame(bytes, view, at, length, info) === FrameError.OK &&
      info.type === FrameType.DATA && info.flags === Flag.ENCRYPTED && info.payloadLength > 0 &&
      info.streamId === this.#connectionId && info.payloadOffset === at + SEALED_PAYLOAD_OFFSET;
    if (!isOurs) return addResult(landing, [RunResult.FRAME, 0, 0, 0, at, length, 0, 0, 0, length]);
    const number = this.#protection.open(bytes, view, at, info);
    if (number < 0) {
      const kind = number === OPEN_REPLAYED ? RunResult.REPLAYED : RunResult.FORGED;
      return addResult(landing, [kind, 0, 0, 0, at, length, 0, 0, 0, length]);
    }
    const { payloadOffset: payload, payloadLength } = info;
    const data = payloadLength - DATA_HEAD_BYTES;
    const isData = data > 0 && bytes[payload] === DATA && view.getUint16(payload + 13) === data;
    const begin = isData ? payload + DATA_HEAD_BYTES : payload;
    const landed = words[4];
    landing.bytes.set(bytes.subarray(begin, payload + payloadLength), landed);
    words[4] += payload + payloadLength - begin;
    const [high, low] = [number / 2 ** 32, number];
    if (!isData) {
      const result = [RunResult.PACKET, high, low, 0, landed, payloadLength, 0, 0, 0, length];
      return addResult(landing, result);
    }
    const [stream, offsetHigh, offsetLow] = [1, 5, 9].map((at) => view.getUint32(payload + at));
    const last = words[6] - 1;
    const joins = last >= 0 && landing.kind(last) === RunResult.DATA &&
      landing.stream(last) === stream &&
      landing.packetNumber(last) + landing.packets(last) === number &&
      landing.offset(last) + landing.length(last) === offsetHigh * 2 ** 32 + offsetLow;
    if (joins) {
      landing.results[last * RESULT_WORDS + 3]++;
      landing.results[last * RESULT_WORDS + 5] += data;
      landing.results[last * RESULT_WORDS + 9] += length;
      return;
    }
    const place = [landed, data, stream, offsetHigh, offsetLow, length];
    addResult(landing, [RunResult.DATA, high, low, 1, ...place]);
  }
}

/** A struct nx_result. */
function addResult({ words, results }: Landing, result: readonly number[]): void {
  results.set(result, words[6]++ * RESULT_WORDS);
}
