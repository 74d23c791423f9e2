/**
 * Runs: several packets sealed or opened in one call, for engines that can (docs/protocol.md §5 says
 * nothing of them: on the wire they are packets like all others). A run that is sealed is one
 * DATA frame in each packet, successive bytes of one stream. Opening takes a frame or a train as the
 * port describes it and lands the opened bytes in memory that all connections of an endpoint
 * share. The layouts of the words are those of ffi/native/nx_io.h, so that native code fills them.
 */

/** Pieces of source memory in one run: what the largest train can span, and its ends. */
const PIECES_MAX = 16;
/** Results of one open call at most. */
const RESULTS_MAX = 64;
/** Room before what lands: heads of frames are opened in front of it. */
export const LANDING_HEADROOM = 16;
/**
 * Eight full trains: enough for what one look at a port brings; small enough to stay in a core's
 * cache between opening and reading.
 */
const LANDING_BYTES = 524_288;

/** What to seal (struct nx_seal_run). */
export class SealRun {
  readonly words = new Uint32Array(12);
  readonly addresses = new Float64Array(PIECES_MAX);
  readonly lengths = new Uint32Array(PIECES_MAX);

  /**
   * `count` packets from `packetNumber` on at `at`: `dataTotal` bytes of `stream` from `offset` on,
   * `dataEach` in each packet but the last. Timestamps are wall time in ns as two halves.
   */
  set(
    at: number,
    count: number,
    packetNumber: number,
    stream: number,
    offset: number,
    dataEach: number,
    dataTotal: number,
    timestampHigh: number,
    timestampLow: number,
    pieces: number,
  ): void {
    const { words } = this;
    words[0] = at;
    words[1] = count;
    words[2] = packetNumber / TWO_POW_32;
    words[3] = packetNumber;
    words[4] = stream;
    words[5] = offset / TWO_POW_32;
    words[6] = offset;
    words[7] = dataEach;
    words[8] = dataTotal;
    words[9] = timestampHigh;
    words[10] = timestampLow;
    words[11] = pieces;
  }
  get count(): number {
    return this.words[1];
  }
  get dataTotal(): number {
    return this.words[8];
  }
  get packetNumber(): number {
    return this.words[2] * TWO_POW_32 + this.words[3];
  }
}

/** What became of frames (enum nx_result_kind). */
export const RunResult = {
  /** Packets of one DATA frame each, their numbers and offsets in sequence. */
  DATA: 1,
  /** An opened payload. */
  PACKET: 2,
  /** Not looked at, unchanged: another shape, connection or CRC. To be decoded one by one. */
  FRAME: 3,
  /** Does not open; unchanged. */
  FORGED: 4,
  /** Seen before or too old; unchanged. */
  REPLAYED: 5,
} as const;

const RESULT_WORDS = 10;

/** Who has bytes in the landing that must not be overwritten yet. */
export interface LandingHolder {
  /** Whether it still needs the memory. */
  readonly holdsLanding: boolean;
  /**
   * It is forgotten here and must call hold() again. Moves what nobody has read elsewhere; false: a
   * view was handed out and may be in use.
   */
  leaveLanding(): boolean;
}

/** Where opened bytes go, and what an open call says of them. One for all connections. */
export class Landing {
  bytes = new Uint8Array(LANDING_BYTES);
  view = new DataView(this.bytes.buffer);
  /** at, length, segment, next, landed, landing_end, results (struct nx_open_run). */
  readonly words = new Uint32Array(7);
  readonly results = new Uint32Array(RESULT_WORDS * RESULTS_MAX);
  readonly #holders: LandingHolder[] = [];

  constructor() {
    this.words[4] = LANDING_HEADROOM;
    this.words[5] = LANDING_BYTES;
  }

  /** Names the next frame (segment 0) or train to open, as a burst describes it. */
  begin(at: number, length: number, segment: number): void {
    const { words } = this;
    words[0] = at;
    words[1] = length;
    words[2] = segment;
    words[3] = 0;
    if (this.#holders.length === 0) words[4] = LANDING_HEADROOM;
    else this.#forgetIdle();
  }

  /** How many frames of the train were looked at. */
  get next(): number {
    return this.words[3];
  }

  /** Whether more should wait until readers had their turn. */
  get isHalfFull(): boolean {
    return this.words[4] > LANDING_BYTES / 2;
  }

  /** Frees all of the landing; what nobody has read moves, what is being read stays as it is. */
  clear(): void {
    let isLent = false;
    for (const holder of this.#holders) if (!holder.leaveLanding()) isLent = true;
    this.#holders.length = 0;
    this.words[4] = LANDING_HEADROOM;
    if (!isLent) return;
    this.bytes = new Uint8Array(LANDING_BYTES);
    this.view = new DataView(this.bytes.buffer);
  }

  /** The holder has bytes here from now on. */
  hold(holder: LandingHolder): void {
    this.#holders.push(holder);
  }

  /** Readers that are done let the landing begin anew, in memory that is still in the caches. */
  #forgetIdle(): void {
    const holders = this.#holders;
    for (let i = holders.length - 1; i >= 0; i--) {
      if (holders[i].holdsLanding) return;
      holders.pop()!.leaveLanding();
    }
    this.words[4] = LANDING_HEADROOM;
  }

  kind(result: number): number {
    return this.results[RESULT_WORDS * result];
  }
  packetNumber(result: number): number {
    const at = RESULT_WORDS * result;
    return this.results[at + 1] * TWO_POW_32 + this.results[at + 2];
  }
  packets(result: number): number {
    return this.results[RESULT_WORDS * result + 3];
  }
  /** In the landing for DATA and PACKET, else in the port's memory. */
  at(result: number): number {
    return this.results[RESULT_WORDS * result + 4];
  }
  length(result: number): number {
    return this.results[RESULT_WORDS * result + 5];
  }
  stream(result: number): number {
    return this.results[RESULT_WORDS * result + 6];
  }
  offset(result: number): number {
    const at = RESULT_WORDS * result;
    return this.results[at + 7] * TWO_POW_32 + this.results[at + 8];
  }
  /** Bytes of the frames, headers included. */
  frameBytes(result: number): number {
    return this.results[RESULT_WORDS * result + 9];
  }
}

/** What all connections of an endpoint share for runs. */
export class RunBuffers {
  readonly sealRun = new SealRun();
  readonly landing = new Landing();
}

/** Seals and opens runs of one path. */
export interface PacketRuns {
  /** Writes the frames, an overlay's room between; bytes from the first to the end of the last. */
  seal(bytes: Uint8Array, run: SealRun): number;
  /** Seals one frame that is complete but for tag and CRC. */
  sealFrame(bytes: Uint8Array, at: number, length: number, packetNumber: number): void;
  /** Goes on with the train of the landing; how many results. 0: the landing is full, clear it. */
  open(bytes: Uint8Array, landing: Landing): number;
}

const TWO_POW_32 = 4_294_967_296;
