/**
 * The portable UDP port: the overlay over `Deno.listenDatagram`, on any machine, without FFI.
 *
 * Receive: one loop awaits datagrams into a buffer of its own, checks overlay and VNI, and copies
 * the frame into a pool slot on a bounded queue, so garbage never touches the pool. (The copy is
 * 0.1 µs beside the 36 µs of the runtime's receive.) Send: frames queue up and one loop hands them
 * to the runtime straight from their slots, one after the other, because the runtime does not keep
 * the order of concurrent sends.
 */
import {
  errorMessage,
  formatSocketAddress,
  NexusError,
  SeededRandom,
  type SocketAddress,
} from "../base/mod.ts";
import {
  Burst,
  BURST_FRAMES_MAX,
  checkOverlay,
  checkVni,
  emptyPortStats,
  FRAME_BYTES_MIN,
  FrameQueue,
  OVERLAY_BYTES,
  OverlayError,
  PeerTable,
  Pool,
  type Port,
  type PortStats,
  SLOT_BYTES,
  writeOverlay,
} from "../l1_link/mod.ts";
import { numericHost } from "./numeric_host.ts";

/** Frames that may wait for the socket: two bursts keep it busy, some 2 ms of sending. */
const TX_QUEUE_FRAMES_MAX = 2 * BURST_FRAMES_MAX;
/** Largest UDP payload over IPv4 (65,535 less both headers), less the overlay. */
const UDP_FRAME_BYTES_MAX = 65_507 - OVERLAY_BYTES;
/** Rest after a failed receive, so that a broken socket does not spin. */
const RX_ERROR_PAUSE_MS = 10;
/** How long close waits for frames still being sent (a CONN_CLOSE, say). */
const CLOSE_DRAIN_MS_MAX = 1000;
/** Longest delay that a timer takes. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** How to open a UDP port. */
export interface UdpPortOptions {
  /** Port 0 lets the system choose. "::" takes IPv4 too where the system maps it. */
  readonly listen: SocketAddress;
  /** The tenant network. */
  readonly vni: number;
  readonly pool?: Pool;
  /** Drops this share (0 … 1) of the frames sent, chosen by a seeded generator. */
  readonly faults?: { readonly lossRate: number; readonly seed: number };
  /** Bound of the receive queue. */
  readonly rxFramesMax?: number;
}

/**
 * Opens a UDP port. Errors: ADDRESS_IN_USE, ADDRESS_NOT_AVAILABLE, PERMISSION_DENIED,
 * LISTEN_FAILED, INVALID_VNI.
 */
// deno-lint-ignore require-await -- async by contract: native ports have to wait here
export async function openUdpPort(options: UdpPortOptions): Promise<UdpPort> {
  checkVni(options.vni);
  return new UdpPort(listen(options.listen), options);
}

function listen({ host, port }: SocketAddress): Deno.DatagramConn {
  try {
    return Deno.listenDatagram({ transport: "udp", hostname: host, port });
  } catch (cause) {
    const at = formatSocketAddress({ host, port });
    if (cause instanceof Deno.errors.AddrInUse) {
      throw new NexusError(
        "ADDRESS_IN_USE",
        `cannot listen: udp ${at} is in use, expected a free port`,
        { cause, hint: "stop the other process or choose another port" },
      );
    }
    if (cause instanceof Deno.errors.AddrNotAvailable) {
      throw new NexusError(
        "ADDRESS_NOT_AVAILABLE",
        `cannot listen: udp ${at} is not an address of this machine`,
        { cause },
      );
    }
    if (
      cause instanceof Deno.errors.PermissionDenied || cause instanceof Deno.errors.NotCapable
    ) {
      throw new NexusError(
        "PERMISSION_DENIED",
        `cannot listen: no permission for udp ${at}`,
        { cause },
      );
    }
    throw new NexusError("LISTEN_FAILED", `cannot listen: udp ${at}: ${errorMessage(cause)}`, {
      cause,
    });
  }
}

/** Whether a socket bound to this numeric host reaches nothing but this machine. */
function isLoopback(host: string): boolean {
  const numeric = numericHost(host);
  return numeric === "::1" || (numeric?.startsWith("127.") ?? false);
}

interface Waiter {
  readonly resolve: () => void;
  readonly timer: number | undefined;
}

/** Overlay over a datagram socket of the runtime. Made by openUdpPort. */
export class UdpPort implements Port {
  readonly name: string;
  readonly localAddress: SocketAddress;
  readonly pool: Pool;
  readonly vni: number;
  readonly frameBytesMax: number;
  /** The runtime cannot set DF, but nothing is longer than what a loopback interface takes. */
  readonly neverFragments: boolean;
  readonly #socket: Deno.DatagramConn;
  readonly #faults: { lossRate: number; random: SeededRandom } | undefined;
  readonly #peers = new PeerTable();
  readonly #queue: FrameQueue;
  readonly #stats = emptyPortStats();
  readonly #waiters = new Set<Waiter>();
  readonly #receiving: Promise<void>;
  #lastSource: { hostname: string; port: number; address: SocketAddress } | undefined;
  readonly #txQueue = new FrameQueue(TX_QUEUE_FRAMES_MAX);
  readonly #txBurst = new Burst();
  /** The send loop, while it runs. */
  #sending: Promise<void> | undefined;
  /** The last burst was taken in part: the driver wants to know when there is room. */
  #roomWanted = false;
  #closing: Promise<void> | undefined;

  constructor(socket: Deno.DatagramConn, options: UdpPortOptions) {
    const { hostname, port } = socket.addr as Deno.NetAddr;
    this.localAddress = { host: hostname, port };
    this.name = `udp ${formatSocketAddress(this.localAddress)}`;
    this.vni = options.vni;
    this.neverFragments = isLoopback(hostname);
    this.pool = options.pool ?? new Pool({
      // Longer frames still would fill the runtime's small receive buffer by threes.
      slotBytes: this.neverFragments ? SLOT_BYTES.jumbo : SLOT_BYTES.small,
    });
    this.frameBytesMax = Math.min(this.pool.frameBytesMax, UDP_FRAME_BYTES_MAX);
    this.#faults = options.faults && {
      lossRate: options.faults.lossRate,
      random: new SeededRandom(options.faults.seed),
    };
    this.#queue = new FrameQueue(options.rxFramesMax);
    this.#socket = socket;
    this.#receiving = this.#receiveLoop();
  }

  async #receiveLoop(): Promise<void> {
    // Longer than any datagram, so that none is cut without a sign.
    const buffer = new Uint8Array(65_536);
    while (this.#closing === undefined) {
      try {
        const [datagram, source] = await this.#socket.receive(buffer);
        this.#receive(datagram, source as Deno.NetAddr);
      } catch {
        if (this.#closing !== undefined) return;
        this.#stats.rxErrors++;
        await new Promise((resolve) => setTimeout(resolve, RX_ERROR_PAUSE_MS));
      }
    }
  }

  #receive(datagram: Uint8Array, source: Deno.NetAddr): void {
    const stats = this.#stats;
    const error = checkOverlay(datagram, 0, datagram.length, this.vni);
    const length = datagram.length - OVERLAY_BYTES;
    if (this.#closing !== undefined) return;
    if (error === OverlayError.OVERLAY_VNI) stats.rxWrongVni++;
    else if (error !== OverlayError.OK) stats.rxMalformed++;
    else if (length > this.frameBytesMax) stats.rxTooLong++;
    else if (this.#queue.full) stats.rxQueueFull++;
    else {
      const slot = this.pool.alloc();
      if (slot < 0) {
        stats.rxNoSlot++;
        return;
      }
      const offset = this.pool.frameOffsetOf(slot);
      this.pool.bytes.set(datagram.subarray(OVERLAY_BYTES), offset);
      this.#queue.push(slot, offset, length, 0, this.#peers.learn(this.#sourceAddress(source)));
      stats.rxFrames++;
      stats.rxBytes += length;
      this.wake();
    }
  }

  /** Frames come in trains from one source: its address is kept ready. */
  #sourceAddress({ hostname, port }: Deno.NetAddr): SocketAddress {
    const last = this.#lastSource;
    if (last !== undefined && last.port === port && last.hostname === hostname) {
      return last.address;
    }
    const address = { host: numericHost(hostname) ?? hostname, port };
    this.#lastSource = { hostname, port, address };
    return address;
  }

  rxBurst(burst: Burst): number {
    return this.#queue.drain(burst);
  }

  txBurst(burst: Burst): number {
    if (this.#closing !== undefined) return 0;
    let taken = 0;
    while (taken < burst.count && !this.#txQueue.full) {
      this.#queueOrDrop(
        burst.slot[taken],
        burst.offset[taken],
        burst.length[taken],
        burst.peer[taken],
      );
      taken++;
    }
    this.#roomWanted = taken < burst.count;
    if (this.#sending === undefined && this.#txQueue.count > 0) this.#sending = this.#sendLoop();
    return taken;
  }

  #queueOrDrop(slot: number, offset: number, length: number, peer: number): void {
    if (this.#peers.use(peer) === undefined) this.#stats.txUnknownPeer++;
    else if (length < FRAME_BYTES_MIN || length > this.frameBytesMax) this.#stats.txErrors++;
    else if (this.#faults?.random.chance(this.#faults.lossRate)) this.#stats.txFaults++;
    else {
      this.#txQueue.push(slot, offset, length, 0, peer);
      return;
    }
    this.pool.free(slot);
  }

  /** Runs until the queue is empty; started only when it is not, so it always awaits. */
  async #sendLoop(): Promise<void> {
    const burst = this.#txBurst;
    while (this.#txQueue.drain(burst) > 0) {
      if (this.#roomWanted && this.#waiters.size > 0) {
        this.#roomWanted = false;
        this.wake();
      }
      for (let i = 0; i < burst.count; i++) {
        await this.#send(burst.offset[i], burst.length[i], burst.peer[i]);
        this.pool.free(burst.slot[i]);
      }
    }
    this.#sending = undefined;
  }

  async #send(offset: number, length: number, peer: number): Promise<void> {
    const to = this.#peers.address(peer);
    if (to === undefined) {
      this.#stats.txUnknownPeer++;
      return;
    }
    const start = offset - OVERLAY_BYTES;
    writeOverlay(this.pool.bytes, start, this.vni);
    try {
      await this.#socket.send(
        this.pool.bytes.subarray(start, offset + length),
        { transport: "udp", hostname: to.host, port: to.port },
      );
      this.#stats.txFrames++;
      this.#stats.txBytes += length;
    } catch {
      // EMSGSIZE, ECONNREFUSED, ENETUNREACH, …: to the layers above it is a lost frame.
      this.#stats.txErrors++;
    }
  }

  wait(timeoutUs: number): Promise<void> {
    if (this.#closing !== undefined || this.#queue.count > 0) return Promise.resolve();
    if (this.#roomWanted && !this.#txQueue.full) {
      // Said once: a driver that does not come back to send must be able to sleep.
      this.#roomWanted = false;
      return Promise.resolve();
    }
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

  wake(): void {
    for (const { resolve, timer } of this.#waiters) {
      clearTimeout(timer);
      resolve();
    }
    this.#waiters.clear();
  }

  peer(address: SocketAddress): number {
    const host = numericHost(address.host);
    if (host === undefined) {
      throw new NexusError(
        "INVALID_ADDRESS",
        `cannot send to ${formatSocketAddress(address)}: it is a name, expected a numeric address`,
        { hint: "resolve the name first (resolveSocketAddress)" },
      );
    }
    return this.#peers.know({ host, port: address.port });
  }

  peerAddress(peer: number): SocketAddress | undefined {
    return this.#peers.address(peer);
  }

  stats(): PortStats {
    return { ...this.#stats };
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    this.wake();
    await this.#drain();
    this.#socket.close();
    await this.#receiving;
    // After a drain that took too long every further send fails at once.
    await this.#sending;
    this.#queue.clear(this.pool);
  }

  /** Lets frames on their way leave the socket, for a limited time. */
  async #drain(): Promise<void> {
    if (this.#sending === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, CLOSE_DRAIN_MS_MAX);
    await Promise.race([this.#sending, promise]);
    clearTimeout(timer);
  }
}
