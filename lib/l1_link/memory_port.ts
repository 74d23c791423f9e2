/**
 * Ports joined inside one process: synchronous, without I/O, and as lossy as a script says. The
 * same overlay, tenants and limits as UDP. Time is virtual: `wait` with a timeout ends when the
 * test advances the network's clock.
 */
import { formatSocketAddress, NexusError, type SocketAddress } from "../base/mod.ts";
import type { Burst } from "./burst.ts";
import { FRAME_BYTES_MIN, OVERLAY_BYTES } from "./gen/link.ts";
import { checkOverlay, checkVni, OverlayError, writeOverlay } from "./overlay.ts";
import { PeerTable } from "./peers.ts";
import { Pool } from "./pool.ts";
import { emptyPortStats, type Port, type PortStats } from "./port.ts";
import { FrameQueue } from "./frame_queue.ts";

/** What happens to a datagram. A held one waits for `releaseHeld`, which makes reordering. */
export type Fate = "deliver" | "drop" | "duplicate" | "hold";

/**
 * Decides the fate of the `index`th datagram of the network (from 0). `datagram` is a private copy
 * of overlay and frame; what the script changes in it is what arrives.
 */
export type FaultScript = (
  from: SocketAddress,
  to: SocketAddress,
  datagram: Uint8Array,
  index: number,
) => Fate;

interface Held {
  readonly from: SocketAddress;
  readonly to: SocketAddress;
  readonly datagram: Uint8Array;
}

/** Datagrams that may be held at once; further ones are dropped. */
const HELD_MAX = 4096;

/** What MemoryPorts hang on. */
export class MemoryNetwork {
  /** Faults from now on; undefined is a lossless network. */
  script: FaultScript | undefined;
  /** Virtual time. */
  nowUs = 0;
  readonly #ports = new Map<string, MemoryPort>();
  #index = 0;
  #held: Held[] = [];

  constructor(script?: FaultScript) {
    this.script = script;
  }

  /** A port at an address; ADDRESS_IN_USE when another open port has it. */
  open({ address, vni, pool = new Pool(), rxFramesMax }: {
    address: SocketAddress;
    vni: number;
    pool?: Pool;
    rxFramesMax?: number;
  }): MemoryPort {
    checkVni(vni);
    const key = formatSocketAddress(address);
    if (this.#ports.has(key)) {
      throw new NexusError(
        "ADDRESS_IN_USE",
        `cannot open memory port: ${key} is in use, expected a free address`,
      );
    }
    const port = new MemoryPort(this, address, vni, pool, new FrameQueue(rxFramesMax));
    this.#ports.set(key, port);
    return port;
  }

  /** Sends a raw datagram, for garbage and replays. The script sees it like any other. */
  inject(from: SocketAddress, to: SocketAddress, datagram: Uint8Array): void {
    this.carry(from, to, datagram, 0, datagram.length);
  }

  /** Delivers what was held, in the order it was sent; returns how many. */
  releaseHeld(): number {
    const held = this.#held;
    this.#held = [];
    for (const { from, to, datagram } of held) this.#deliver(from, to, datagram);
    return held.length;
  }

  /** Moves the virtual clock and wakes the waits that are due. */
  advance(us: number): void {
    this.nowUs += us;
    for (const port of this.#ports.values()) port.timePassed();
  }

  /** Called by ports: takes `length` bytes at `at` to the port at `to`. */
  carry(
    from: SocketAddress,
    to: SocketAddress,
    bytes: Uint8Array,
    at: number,
    length: number,
  ): void {
    const index = this.#index++;
    const datagram = bytes.slice(at, at + length);
    const fate = this.script === undefined ? "deliver" : this.script(from, to, datagram, index);
    if (fate === "drop") return;
    if (fate === "hold") {
      if (this.#held.length < HELD_MAX) this.#held.push({ from, to, datagram });
      return;
    }
    this.#deliver(from, to, datagram);
    if (fate === "duplicate") this.#deliver(from, to, datagram);
  }

  /** Called by a port that closes. */
  leave(port: MemoryPort): void {
    this.#ports.delete(formatSocketAddress(port.localAddress));
  }

  /** As with UDP, nobody learns that no port is there. */
  #deliver(from: SocketAddress, to: SocketAddress, datagram: Uint8Array): void {
    this.#ports.get(formatSocketAddress(to))?.deliver(from, datagram);
  }
}

interface Waiter {
  readonly deadlineUs: number;
  readonly resolve: () => void;
}

/** One end on a MemoryNetwork. Made by MemoryNetwork.open. */
export class MemoryPort implements Port {
  readonly neverFragments = true;
  readonly name: string;
  readonly #network: MemoryNetwork;
  readonly #queue: FrameQueue;
  readonly #peers = new PeerTable();
  readonly #stats = emptyPortStats();
  #waiters: Waiter[] = [];
  #closed = false;

  constructor(
    network: MemoryNetwork,
    readonly localAddress: SocketAddress,
    readonly vni: number,
    readonly pool: Pool,
    queue: FrameQueue,
  ) {
    this.name = `memory ${formatSocketAddress(localAddress)}`;
    this.#network = network;
    this.#queue = queue;
  }

  get frameBytesMax(): number {
    return this.pool.frameBytesMax;
  }

  rxBurst(burst: Burst): number {
    return this.#queue.drain(burst);
  }

  txBurst(burst: Burst): number {
    if (this.#closed) return 0;
    for (let i = 0; i < burst.count; i++) {
      this.#send(burst.offset[i], burst.length[i], burst.peer[i]);
      this.pool.free(burst.slot[i]);
    }
    return burst.count;
  }

  #send(offset: number, length: number, peer: number): void {
    const to = this.#peers.use(peer);
    if (to === undefined) {
      this.#stats.txUnknownPeer++;
      return;
    }
    if (length < FRAME_BYTES_MIN || length > this.frameBytesMax) {
      this.#stats.txErrors++;
      return;
    }
    this.#stats.txFrames++;
    this.#stats.txBytes += length;
    const start = offset - OVERLAY_BYTES;
    writeOverlay(this.pool.bytes, start, this.vni);
    this.#network.carry(this.localAddress, to, this.pool.bytes, start, OVERLAY_BYTES + length);
  }

  /** Called by the network: a datagram arrives. */
  deliver(from: SocketAddress, datagram: Uint8Array): void {
    const error = checkOverlay(datagram, 0, datagram.length, this.vni);
    const length = datagram.length - OVERLAY_BYTES;
    if (error === OverlayError.OVERLAY_VNI) this.#stats.rxWrongVni++;
    else if (error !== OverlayError.OK) this.#stats.rxMalformed++;
    else if (length > this.frameBytesMax) this.#stats.rxTooLong++;
    else if (this.#queue.full) this.#stats.rxQueueFull++;
    else {
      const slot = this.pool.alloc();
      if (slot < 0) {
        this.#stats.rxNoSlot++;
        return;
      }
      const offset = this.pool.frameOffsetOf(slot);
      this.pool.bytes.set(datagram.subarray(OVERLAY_BYTES), offset);
      this.#queue.push(slot, offset, length, 0, this.#peers.learn(from));
      this.#stats.rxFrames++;
      this.#stats.rxBytes += length;
      this.wake();
    }
  }

  wait(timeoutUs: number): Promise<void> {
    if (this.#closed || this.#queue.count > 0 || timeoutUs <= 0) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push({ deadlineUs: this.#network.nowUs + timeoutUs, resolve });
    return promise;
  }

  wake(): void {
    this.#endWaits(Infinity);
  }

  /** Called by the network when its clock moved. */
  timePassed(): void {
    this.#endWaits(this.#network.nowUs);
  }

  /** Ends the waits whose deadline is not after `untilUs`. */
  #endWaits(untilUs: number): void {
    if (this.#waiters.length === 0) return;
    const due = this.#waiters.filter((waiter) => waiter.deadlineUs <= untilUs);
    this.#waiters = this.#waiters.filter((waiter) => waiter.deadlineUs > untilUs);
    for (const waiter of due) waiter.resolve();
  }

  peer(address: SocketAddress): number {
    return this.#peers.know(address);
  }

  peerAddress(peer: number): SocketAddress | undefined {
    return this.#peers.address(peer);
  }

  stats(): PortStats {
    return { ...this.#stats };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#network.leave(this);
    this.#queue.clear(this.pool);
    this.wake();
  }
}
