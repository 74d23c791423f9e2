/**
 * L1: encoding and decoding frames in bursts, the ring, the checksum, UDP ports, and what a frame
 * allocates. Native rows are left out, with a note, where the library is missing.
 */
import {
  bestFrameCrc,
  type FrameCrc,
  nativeFrameCrc,
  portableFrameCrc,
} from "../lib/io/frame_crc.ts";
import { openBestPort } from "../lib/io/open_port.ts";
import {
  Burst,
  createRing,
  decodeFrame,
  encodeHeader,
  FrameError,
  FrameInfo,
  HEADER_BYTES,
  HeaderFields,
  PLAIN_OVERHEAD,
  Pool,
  type Port,
  RingConsumer,
  RingProducer,
} from "../lib/l1_link/mod.ts";
import { nativeUdpRows } from "./native_udp.ts";
import { type Bench, median, type Row, type Target, withTarget } from "./row.ts";

const PAYLOAD_BYTES = 64;
const FRAME_BYTES = PLAIN_OVERHEAD + PAYLOAD_BYTES;
const BURST_FRAMES = 32;
/**
 * Samples of each figure; the median counts. They are short beside a time slice, so that on a busy
 * machine most of them run undisturbed.
 */
const SAMPLES = 201;
const SAMPLE_MS = 0.3;
const WARM_UP_MS = 150;
const VNI = 7;

export const linkBench: Bench = {
  name: "link",
  about: "L1: frame codec, ring, checksum, UDP ports, allocation",
  async *run(): AsyncGenerator<Row> {
    const native = nativeFrameCrc();
    if (native === undefined) leftOut("encode_64B_ns, decode_64B_ns", "the native library");
    else yield* codecRows(native, "");
    yield* codecRows(portableFrameCrc, "_portable");
    yield* ringRows();
    yield* checksumRows(native);
    yield* nativeUdpRows();
    yield* udpPortableRows();
    yield await allocationRow();
  },
};

/** What 01-link.md asks for. */
const TARGETS: Readonly<Record<string, Target>> = {
  encode_64B_ns: ["value", "<", 200],
  decode_64B_ns: ["value", "<", 300],
  ring_reserve_commit_ns: ["value", "<", 50],
  alloc_bytes_per_frame: ["value", "≤", 0],
};

function row(name: string, value: number, unit: string): Row {
  const plain: Row = { bench: "link", name, value, unit };
  return Object.hasOwn(TARGETS, name) ? withTarget(plain, TARGETS[name]) : plain;
}

/** Rows that this machine cannot measure. */
function leftOut(rows: string, need: string): void {
  console.error(`link: ${rows} left out: needs ${need} (deno task build)`);
}

/** Nanoseconds per unit of work: `run` does `units` of it; the median of many samples. */
function nsPer(units: number, run: () => void): number {
  for (const until = performance.now() + WARM_UP_MS; performance.now() < until;) run();
  let rounds = 1;
  while (timed(run, rounds) < SAMPLE_MS) rounds *= 2;
  const samples = Array.from({ length: SAMPLES }, () => timed(run, rounds));
  return median(samples) * 1e6 / rounds / units;
}

function timed(run: () => void, rounds: number): number {
  const started = performance.now();
  for (let i = 0; i < rounds; i++) run();
  return performance.now() - started;
}

/** A burst of frames that is written and read in place, as a port and its layers do. */
class BurstCodec {
  readonly pool = new Pool({ slots: BURST_FRAMES });
  readonly burst = new Burst();
  readonly #crc: FrameCrc;
  readonly #fields = new HeaderFields();
  readonly #info = new FrameInfo();
  readonly #payload = new Uint8Array(PAYLOAD_BYTES).fill(0x5a);

  constructor(crc: FrameCrc) {
    this.#crc = crc;
    const fields = this.#fields;
    fields.source = new Uint8Array(16).fill(1);
    fields.dest = new Uint8Array(16).fill(2);
    fields.length = FRAME_BYTES;
    // As in real frames the upper half of these numbers is in use.
    fields.streamId = 0x87654321;
    fields.timestampHigh = 0x17b1d2e3;
    fields.timestampLow = 0xf0e1d2c3;
    for (let i = 0; i < BURST_FRAMES; i++) {
      const slot = this.pool.alloc();
      this.burst.push(slot, this.pool.frameOffsetOf(slot), FRAME_BYTES, 0, 0);
    }
  }

  /** Header, payload and checksum of each frame. */
  readonly encode = () => {
    const { pool: { bytes, view }, burst } = this;
    const fields = this.#fields;
    for (let i = 0; i < burst.count; i++) {
      const offset = burst.offset[i];
      fields.sequence = (fields.sequence + 1) >>> 0;
      encodeHeader(bytes, view, offset, fields);
      bytes.set(this.#payload, offset + HEADER_BYTES);
    }
    if (this.#crc.write(bytes, burst, 0, burst.count) !== burst.count) {
      throw new Error("not written");
    }
  };

  /** Checksum, every other check, and every field of each frame. */
  readonly decode = () => {
    const { pool: { bytes, view }, burst } = this;
    if (this.#crc.check(bytes, burst, 0, burst.count) !== burst.count) throw new Error("wrong CRC");
    for (let i = 0; i < burst.count; i++) {
      const error = decodeFrame(bytes, view, burst.offset[i], burst.length[i], this.#info, true);
      if (error !== FrameError.OK) throw new Error(FrameError[error]);
    }
  };
}

function* codecRows(crc: FrameCrc, suffix: string): Generator<Row> {
  const codec = new BurstCodec(crc);
  yield row(`encode_64B${suffix}_ns`, nsPer(BURST_FRAMES, codec.encode), "ns");
  yield row(`decode_64B${suffix}_ns`, nsPer(BURST_FRAMES, codec.decode), "ns");
}

/** One entry at a time, on either side: the dearest way to use a ring. */
function* ringRows(): Generator<Row> {
  const memory = createRing(1024, 4);
  const producer = new RingProducer(memory);
  const consumer = new RingConsumer(memory);
  let value = 0;
  const ns = nsPer(2, () => {
    if (producer.reserve(1) !== 1) throw new Error("the ring is full");
    producer.words[producer.at(0)] = ++value & 0xffff;
    producer.commit(1);
    if (consumer.reserve(1) !== 1) throw new Error("the ring is empty");
    if (consumer.words[consumer.at(0)] !== (value & 0xffff)) throw new Error("wrong entry");
    consumer.commit(1);
  });
  yield row("ring_reserve_commit_ns", ns, "ns");
}

/** The best checksum of the machine; its peer is the sliced table in TypeScript. */
function* checksumRows(native: FrameCrc | undefined): Generator<Row> {
  const length = 1400;
  const bytes = new Uint8Array(new SharedArrayBuffer(length)).map((_, i) => i * 7);
  const gigabytes = (crc: FrameCrc) => {
    let sink = 0;
    const ns = nsPer(1, () => sink ^= crc.crc32c(bytes, 0, length));
    return sink === -1 ? 0 : length / ns;
  };
  const portable = gigabytes(portableFrameCrc);
  if (native === undefined) yield row("crc32c_1400B_gbs", portable, "GB/s");
  else {
    const value = gigabytes(native);
    yield {
      ...row("crc32c_1400B_gbs", value, "GB/s"),
      peer: "TypeScript",
      peerValue: portable,
      ratio: value / portable,
    };
  }
}

const PACKETS_UNDER_WAY = 32;
const PACKETS_A_SAMPLE = 2000;
const UDP_SAMPLES = 7;

/** Datagrams a second through the portable port, sending and receiving on one event loop. */
async function* udpPortableRows(): AsyncGenerator<Row> {
  const listen = { host: "127.0.0.1", port: 0 };
  const open = async () =>
    (await openBestPort({ kind: "udp", listen, vni: VNI, pool: new Pool({ slots: 256 }) })).port;
  const [from, to] = [await open(), await open()];
  try {
    const peer = from.peer(to.localAddress);
    const rates: number[] = [];
    for (let i = 0; i < UDP_SAMPLES; i++) {
      const started = performance.now();
      for (let sent = 0; sent < PACKETS_A_SAMPLE; sent += PACKETS_UNDER_WAY) {
        // The window closes before the next opens, so that the small socket buffer drops nothing.
        sendBurst(from, peer, PACKETS_UNDER_WAY);
        await takeFrames(to, PACKETS_UNDER_WAY);
      }
      rates.push(PACKETS_A_SAMPLE / (performance.now() - started) * 1000);
    }
    yield row("udp_portable_pps", median(rates), "packets/s");
  } finally {
    await from.close();
    await to.close();
  }
}

const txBurst = new Burst();
const rxBurst = new Burst();

function sendBurst(port: Port, peer: number, frames: number): void {
  txBurst.clear();
  for (let i = 0; i < frames; i++) {
    const slot = port.pool.alloc();
    txBurst.push(slot, port.pool.frameOffsetOf(slot), FRAME_BYTES, 0, peer);
  }
  if (port.txBurst(txBurst) !== frames) throw new Error("the port did not take a burst");
}

async function takeFrames(port: Port, frames: number): Promise<void> {
  for (let taken = 0; taken < frames;) {
    const count = port.rxBurst(rxBurst);
    for (let i = 0; i < count; i++) port.pool.free(rxBurst.slot[i]);
    taken += count;
    if (count === 0) await port.wait(Infinity);
  }
}

const ALLOCATION_BURSTS = 1000;
const ALLOCATION_SAMPLES = 15;

/**
 * Bytes of JavaScript heap that a frame takes from pool to pool in steady state: slots, encoding,
 * a ring between two threads' ends, decoding, slots back. Few enough frames that no collection
 * falls between two readings.
 */
async function allocationRow(): Promise<Row> {
  const codec = new BurstCodec(bestFrameCrc());
  const pool = new Pool({ slots: 2 * BURST_FRAMES });
  const memory = createRing(64, 4);
  const producer = new RingProducer(memory);
  const consumer = new RingConsumer(memory);
  const slots = new Int32Array(BURST_FRAMES);
  const turn = () => {
    const count = pool.reserve(slots, BURST_FRAMES);
    codec.encode();
    const granted = producer.reserve(count);
    for (let i = 0; i < granted; i++) producer.words[producer.at(i)] = slots[i];
    producer.commit(granted);
    const arrived = consumer.reserve(count);
    codec.decode();
    for (let i = 0; i < arrived; i++) pool.free(consumer.words[consumer.at(i)]);
    consumer.commit(arrived);
  };
  const through = await loopbackTurn();
  const grown = (bursts: number) => {
    const before = Deno.memoryUsage().heapUsed;
    for (let i = 0; i < bursts; i++) {
      turn();
      through.turn();
    }
    return Deno.memoryUsage().heapUsed - before;
  };
  grown(20 * ALLOCATION_BURSTS);
  const samples: number[] = [];
  for (let i = 0; i < ALLOCATION_SAMPLES; i++) {
    // A reading takes some heap itself; a negative difference means that a collection came between.
    const perFrame = (grown(ALLOCATION_BURSTS) - grown(0)) / (ALLOCATION_BURSTS * BURST_FRAMES);
    if (perFrame >= 0) samples.push(perFrame);
  }
  await through.close();
  // Without any sample frames allocate so much that every reading was overtaken: no figure, missed.
  return row("alloc_bytes_per_frame", samples.length === 0 ? NaN : median(samples), "B");
}

/** A burst through the native port on loopback and back into its pool; nothing without it. */
async function loopbackTurn(): Promise<{ turn: () => void; close: () => Promise<void> }> {
  if (nativeFrameCrc() === undefined) return { turn: () => {}, close: () => Promise.resolve() };
  const listen = { host: "127.0.0.1", port: 0 };
  const pool = new Pool({ slots: 4 * BURST_FRAMES });
  const { port } = await openBestPort({ kind: "udp-native", listen, vni: VNI, pool });
  const peer = port.peer(port.localAddress);
  return {
    turn: () => {
      sendBurst(port, peer, BURST_FRAMES);
      for (let taken = 0, empty = 0; taken < BURST_FRAMES && empty < 1000;) {
        const count = port.rxBurst(rxBurst);
        for (let i = 0; i < count; i++) pool.free(rxBurst.slot[i]);
        taken += count;
        if (count === 0) empty++;
      }
    },
    close: async () => {
      await port.close();
    },
  };
}
