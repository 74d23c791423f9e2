/**
 * The native UDP port: the overlay through libnexus_io (ffi/native), which sends trains with
 * UDP_SEGMENT, receives them with UDP_GRO, reads and writes ECN and, asked for, takes receive times.
 *
 * Frames wait in the kernel's socket buffer. `rxBurst` asks the kernel directly; sending is done
 * when `txBurst` returns. `wait` first looks at the socket for a bounded time, because a frame that
 * comes soon is then had in some 10 µs; only when nothing came it arms the waker thread (ffi/waker.ts)
 * and lets the event loop sleep. What `wait` finds is kept for the next rxBurst.
 *
 * Whether it looks follows the sleeps before (as KVM's halt polling does): after one that was shorter
 * than a look, looking would have been better. After longer ones it looks only now and then, to find
 * out whether the other end could be had awake. So a busy path spins and an idle node sleeps.
 */
import {
  decodeHost,
  encodeHost,
  encodeOpenOptions,
  Errno,
  type NexusIo,
  nexusIo,
  NX_HOST_BYTES,
  NX_RX_SLOTS_MAX,
  NX_STATS,
  NxOpen,
  NxWait,
} from "../../ffi/nexus_io.ts";
import { takeSeat, type WakerSeat } from "../../ffi/waker.ts";
import { formatSocketAddress, NexusError, type SocketAddress } from "../base/mod.ts";
import {
  Burst,
  checkVni,
  emptyPortStats,
  FrameQueue,
  OVERLAY_BYTES,
  PEERS_KNOWN_MAX,
  PEERS_LEARNED_MAX,
  Pool,
  type Port,
  type PortStats,
  SLOT_BYTES,
} from "../l1_link/mod.ts";
import { numericHost } from "./numeric_host.ts";

/** Largest UDP payload over IPv4 (65,535 less both headers), less the overlay. */
const UDP_FRAME_BYTES_MAX = 65_507 - OVERLAY_BYTES;
/** Slots of a default pool: 8 MiB, of which those used last are used again. */
const SLOTS_DEFAULT = 128;
/** Wanted socket buffers: some 30 ms of 1 Gbit/s. The system may give less (net.core.rmem_max). */
const SOCKET_BUFFER_BYTES = 16 * 1024 * 1024;
/**
 * Longest look at the socket in one `wait`: past what it costs two sleeping ends to wake each other
 * (100-200 µs on virtual machines), or they would never meet awake. It holds the event loop.
 */
const SPIN_US_MAX_DEFAULT = 250;
/** Of long sleeps in a row, the 1st, 2nd, 4th, 8th … is followed by a look, and every so many. */
const PROBE_SLEEPS = 64;
/** Bursts in a row without a sleep after which the port leaves the waker (nx_arm). */
const AWAKE_BURSTS = 64;
/** Longest delay that a timer takes. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** How to open a native UDP port. */
export interface UdpNativePortOptions {
  /** Port 0 lets the system choose. "::" takes IPv4 too where the system maps it. */
  readonly listen: SocketAddress;
  /** The tenant network. */
  readonly vni: number;
  /** Trains are received only into slots of the large class, which is the default. */
  readonly pool?: Pool;
  /** Bound of the queue of frames that `poll` took in; before it stands the kernel's. */
  readonly rxFramesMax?: number;
  /** Several ports may share the address (SO_REUSEPORT): one per Worker. */
  readonly reusePort?: boolean;
  /**
   * One of `size` ports that share the address, steered by connection id (ffi/native/steer.c): the
   * endpoint over it must choose ids of its `index`. Ports of a group are opened one after the other
   * in the order of their index; the first one finds the address free.
   */
  readonly group?: { readonly index: number; readonly size: number };
  /** Longest busy look at the socket in `wait`; 0: always sleep. */
  readonly spinUsMax?: number;
  /** Wanted bytes of each socket buffer. */
  readonly socketBufferBytes?: number;
  /** What to do without, for tests and diagnosis. */
  readonly without?: readonly ("gso" | "gro")[];
  /** Have the kernel say when each message came (NL-F-009). Default false: it costs 5 % of a train. */
  readonly timestamps?: boolean;
  /** "probe" (default) finds the path MTU above, deaf to ICMP; "kernel" obeys the kernel's. */
  readonly pathMtu?: "probe" | "kernel";
  /** Give a train as one descriptor (Port.trains). Default false: one for each frame. */
  readonly trains?: boolean;
}

/** Why no native port can be opened here; undefined when one can. */
export function udpNativeUnavailable(): string | undefined {
  const state = nexusIo();
  return "unavailable" in state ? state.unavailable : undefined;
}

/**
 * Opens a native UDP port. Errors: NATIVE_UNAVAILABLE, ADDRESS_IN_USE, ADDRESS_NOT_AVAILABLE,
 * INVALID_ADDRESS, PERMISSION_DENIED, LISTEN_FAILED, INVALID_VNI.
 */
// deno-lint-ignore require-await -- async like every port: opening may have to wait
export async function openUdpNativePort(options: UdpNativePortOptions): Promise<UdpNativePort> {
  checkVni(options.vni);
  const state = nexusIo();
  if ("unavailable" in state) {
    throw new NexusError(
      "NATIVE_UNAVAILABLE",
      `cannot open native port: ${state.unavailable}`,
      { hint: "use the portable port (--port udp)" },
    );
  }
  return new UdpNativePort(state.io, options);
}

interface Waiter {
  readonly resolve: () => void;
  readonly timer: number | undefined;
}

/** Counters beyond PortStats: how often segmentation and coalescing were at work. */
export interface TrainStats {
  readonly rxTrains: number;
  readonly txTrains: number;
}

/** Overlay over a socket of the native library. Made by openUdpNativePort. */
export class UdpNativePort implements Port {
  readonly name: string;
  readonly localAddress: SocketAddress;
  readonly pool: Pool;
  readonly vni: number;
  readonly frameBytesMax: number;
  readonly neverFragments = true; // sets DF
  readonly trains: boolean;
  readonly #io: NexusIo;
  readonly #handle: number;
  readonly #seat: WakerSeat | undefined;
  readonly #spinUsMax: number;
  /** Slots offered to a receive. */
  readonly #slots = new Int32Array(NX_RX_SLOTS_MAX);
  /** What `wait` received: the next rxBurst. */
  readonly #ahead = new Burst();
  /** What `poll` took in. Never both hold frames. */
  readonly #queue: FrameQueue;
  readonly #host = new Uint8Array(NX_HOST_BYTES);
  readonly #counters = new Float64Array(NX_STATS.length);
  readonly #waiters = new Set<Waiter>();
  /** The waker has been asked for these events and has not called yet. */
  #armed = 0;
  /** Bursts until the port leaves the waker; 0: it is out. */
  #burstsInWaker = 0;
  /** The last burst was taken in part: the driver wants to know when there is room. */
  #roomWanted = false;
  /** How long the next `wait` looks. */
  #spinUs: number;
  #asleepSinceMs = 0;
  /** Sleeps in a row that were longer than a look. */
  #longSleeps = 0;
  /** Received but dropped because the queue was full. */
  #overflowFrames = 0;
  #overflowBytes = 0;
  /** Set by the first close; resolves when the waker is done with this port. */
  #closed?: Promise<void>;

  constructor(io: NexusIo, options: UdpNativePortOptions) {
    this.#io = io;
    this.vni = options.vni;
    this.trains = options.trains ?? false;
    this.pool = options.pool ?? new Pool({ slotBytes: SLOT_BYTES.large, slots: SLOTS_DEFAULT });
    this.frameBytesMax = Math.min(this.pool.frameBytesMax, UDP_FRAME_BYTES_MAX);
    this.#queue = new FrameQueue(options.rxFramesMax);
    this.#spinUsMax = options.spinUsMax ?? SPIN_US_MAX_DEFAULT;
    this.#spinUs = this.#spinUsMax;
    this.#seat = takeSeat(io, () => this.#onReady());
    this.#handle = this.#open(options);
    const port = io.nx_local_address(this.#handle, this.#host);
    const host = decodeHost(this.#host);
    this.localAddress = { host: numericHost(host) ?? host, port };
    this.name = `udp-native ${formatSocketAddress(this.localAddress)}`;
  }

  #open(options: UdpNativePortOptions): number {
    const { bytes } = this.pool;
    const handle = this.#io.nx_open(
      encodeOpenOptions({
        flags: openFlags(options),
        vni: options.vni,
        port: options.listen.port,
        poolBase: this.pool.offsetOf(0),
        slotBytes: this.pool.slotBytes,
        slots: this.pool.slots,
        socketBufferBytes: options.socketBufferBytes ?? SOCKET_BUFFER_BYTES,
        peersLearnedMax: PEERS_LEARNED_MAX,
        peersKnownMax: PEERS_KNOWN_MAX,
        waker: this.#seat?.waker ?? -1,
        tag: this.#seat?.tag ?? 0,
        groupSize: options.group?.size ?? 1,
        groupIndex: options.group?.index ?? 0,
        host: options.listen.host,
      }),
      bytes as Uint8Array<ArrayBuffer>, // FFI takes shared memory too; its type does not say so.
      bytes.length,
    );
    if (handle >= 0 && this.#seat !== undefined) return handle;
    if (handle >= 0) this.#io.nx_close(handle);
    this.#seat?.leave();
    throw openError(handle, options.listen);
  }

  rxBurst(burst: Burst): number {
    if (this.#queue.count > 0) return this.#queue.drain(burst);
    if (this.#ahead.count === 0) return this.#receive(burst, 0);
    burst.block.set(this.#ahead.block);
    burst.count = this.#ahead.count;
    this.#ahead.clear();
    return burst.count;
  }

  #receive(burst: Burst, spinUs: number): number {
    if (this.#closed !== undefined) {
      burst.clear();
      return 0;
    }
    const { pool } = this;
    const slots = this.#slots;
    const offered = pool.reserve(slots, NX_RX_SLOTS_MAX);
    const count = this.#io.nx_rx_burst(this.#handle, burst.block, slots, offered, spinUs);
    burst.count = Math.max(0, count);
    pool.settle(slots, offered, burst.slot, burst.count);
    if (count > 0 && this.#burstsInWaker > 0) this.#stayAwake();
    return burst.count;
  }

  txBurst(burst: Burst): number {
    if (this.#closed !== undefined || burst.count === 0) return 0;
    const taken = Math.max(0, this.#io.nx_tx_burst(this.#handle, burst.block, burst.count));
    this.pool.commit(burst.slot, taken, 0);
    this.#roomWanted = taken < burst.count;
    // Somebody who sleeps already is to learn of room as well.
    if (this.#roomWanted && this.#waiters.size > 0) this.#arm();
    return taken;
  }

  /**
   * Takes in everything that waits at the socket, as far as the queue goes; the rest is dropped and
   * counted. Only for who wants the counters up to date without receiving: rxBurst and wait leave
   * frames in the kernel as long as possible.
   */
  poll(): void {
    const burst = this.#ahead;
    while (burst.count > 0 || this.#receive(burst, 0) > 0) {
      const { slot, offset, length, flags, peer, segment } = burst;
      for (let i = 0; i < burst.count; i++) {
        if (this.#queue.push(slot[i], offset[i], length[i], flags[i], peer[i], segment[i])) {
          continue;
        }
        const frames = burst.framesAt(i);
        this.#overflowFrames += frames;
        this.#overflowBytes += length[i] - (frames - 1) * OVERLAY_BYTES;
        this.pool.free(slot[i]);
      }
      burst.clear();
    }
  }

  wait(timeoutUs: number): Promise<void> {
    if (this.#closed !== undefined || this.#queue.count > 0 || this.#ahead.count > 0) {
      return Promise.resolve();
    }
    // A sleep shorter than a look is over before the event loop could come back.
    const short = timeoutUs <= this.#spinUsMax;
    const spinUs = short ? Math.max(0, Math.ceil(timeoutUs)) : this.#spinUs;
    const beganMs = spinUs > 0 ? performance.now() : 0;
    const count = this.#receive(this.#ahead, spinUs);
    if (spinUs > 0 && !short) this.#learnFromLook(1000 * (performance.now() - beganMs));
    if (count > 0 || short) return Promise.resolve();
    this.#asleepSinceMs = performance.now();
    this.#arm();
    const { promise, resolve } = Promise.withResolvers<void>();
    const ms = Math.max(0, Math.ceil(timeoutUs / 1000));
    const waiter: Waiter = {
      resolve,
      // Past the longest timer the driver is woken early and finds nothing: harmless.
      timer: ms === Infinity ? undefined : setTimeout(() => {
        this.#waiters.delete(waiter);
        resolve();
      }, Math.min(ms, TIMER_MS_MAX)),
    };
    this.#waiters.add(waiter);
    return promise;
  }

  #stayAwake(): void {
    if (this.#armed !== 0 || --this.#burstsInWaker > 0) return;
    this.#io.nx_arm(this.#handle, 0);
  }

  #arm(): void {
    this.#burstsInWaker = AWAKE_BURSTS;
    const events = this.#roomWanted ? NxWait.READ | NxWait.WRITE : NxWait.READ;
    if (this.#armed === events) return;
    this.#armed = events;
    this.#io.nx_arm(this.#handle, events);
  }

  #onReady(): void {
    this.#armed = 0;
    this.#roomWanted = false;
    if (this.#waiters.size > 0) this.#learnFromSleep();
    this.wake();
  }

  /** A look that took far longer than asked for yielded to others: this core is not ours to spin. */
  #learnFromLook(tookUs: number): void {
    if (tookUs > 2 * this.#spinUsMax) this.#decideLook(false);
  }

  #learnFromSleep(): void {
    this.#decideLook(1000 * (performance.now() - this.#asleepSinceMs) <= this.#spinUsMax);
  }

  #decideLook(worthwhile: boolean): void {
    const n = this.#longSleeps = worthwhile ? 0 : this.#longSleeps + 1;
    const look = (n & (n - 1)) === 0 || n % PROBE_SLEEPS === 0;
    this.#spinUs = look ? this.#spinUsMax : 0;
  }

  wake(): void {
    for (const { resolve, timer } of this.#waiters) {
      clearTimeout(timer);
      resolve();
    }
    this.#waiters.clear();
  }

  peer(address: SocketAddress): number {
    const host = numericHost(address.host);
    const peer = host === undefined
      ? -Errno.EINVAL
      : this.#io.nx_peer(this.#handle, encodeHost(host), address.port);
    if (peer === -Errno.EINVAL) {
      throw new NexusError(
        "INVALID_ADDRESS",
        `cannot send to ${formatSocketAddress(address)}: it is a name, expected a numeric address`,
        { hint: "resolve the name first (resolveSocketAddress)" },
      );
    }
    return peer;
  }

  knowsPeer(peer: number): boolean {
    return this.#io.nx_peer_address(this.#handle, peer, this.#host) >= 0;
  }

  peerAddress(peer: number): SocketAddress | undefined {
    const port = this.#io.nx_peer_address(this.#handle, peer, this.#host);
    if (port < 0) return undefined;
    const host = decodeHost(this.#host);
    return { host: numericHost(host) ?? host, port };
  }

  stats(): PortStats {
    this.#readCounters();
    const stats: PortStats & Record<string, number> = { ...emptyPortStats() };
    for (let i = 0; i < NX_STATS.length; i++) {
      if (NX_STATS[i] in stats) stats[NX_STATS[i]] = this.#counters[i];
    }
    stats.rxFrames -= this.#overflowFrames;
    stats.rxBytes -= this.#overflowBytes;
    stats.rxQueueFull += this.#overflowFrames;
    return stats;
  }

  /** How often several frames went in one message. */
  trainStats(): TrainStats {
    this.#readCounters();
    const at = (name: typeof NX_STATS[number]) => this.#counters[NX_STATS.indexOf(name)];
    return { rxTrains: at("rxTrains"), txTrains: at("txTrains") };
  }

  /** After close the last counters stay. */
  #readCounters(): void {
    if (this.#closed === undefined) {
      this.#io.nx_stats(this.#handle, bytesOf(this.#counters), this.#counters.length);
    }
  }

  /** Stops at once. Resolves when the waker makes no more calls, which an isolate must not end under. */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#readCounters();
    this.#io.nx_close(this.#handle);
    const left = this.#seat?.leave();
    this.#queue.clear(this.pool);
    this.pool.commit(this.#ahead.slot, this.#ahead.count, 0);
    this.#ahead.clear();
    this.wake();
    await left;
  }
}

function bytesOf(array: Float64Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(array.buffer);
}

function openFlags(
  { reusePort, without = [], pathMtu, trains, timestamps }: UdpNativePortOptions,
): number {
  return (reusePort ? NxOpen.REUSE_PORT : 0) | (trains ? NxOpen.TRAINS : 0) |
    (without.includes("gso") ? NxOpen.NO_GSO : 0) |
    (without.includes("gro") ? NxOpen.NO_GRO : 0) |
    (timestamps ? NxOpen.TIMESTAMPS : 0) |
    (pathMtu === "kernel" ? NxOpen.PMTU_DO : 0);
}

function openError(error: number, listen: SocketAddress): NexusError {
  const at = formatSocketAddress(listen);
  switch (-error) {
    case Errno.EADDRINUSE:
      return new NexusError(
        "ADDRESS_IN_USE",
        `cannot listen: udp ${at} is in use, expected a free port`,
        { hint: "stop the other process or choose another port" },
      );
    case Errno.EADDRNOTAVAIL:
      return new NexusError(
        "ADDRESS_NOT_AVAILABLE",
        `cannot listen: udp ${at} is not an address of this machine`,
      );
    case Errno.EACCES:
      return new NexusError("PERMISSION_DENIED", `cannot listen: no permission for udp ${at}`);
    case Errno.EINVAL:
      return new NexusError(
        "INVALID_ADDRESS",
        `cannot listen: udp ${at} is not numeric, expected an IP address and a port`,
      );
    default:
      return new NexusError("LISTEN_FAILED", `cannot listen: udp ${at}: error ${-error}`);
  }
}
