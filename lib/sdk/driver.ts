/**
 * Turns one endpoint over one port: the only place where the sans-I/O stack meets sockets and
 * the clock. One driver serves a whole process, node or client.
 */
import { type Clock, formatSocketAddress, NexusError, type SocketAddress } from "../base/mod.ts";
import {
  type ConnectOptions,
  Endpoint,
  type EndpointOptions,
  type Stray,
} from "../endpoint/mod.ts";
import { setImmediate } from "node:timers";
import { Burst, type Port } from "../l1_link/mod.ts";
import { CloseReason, FRAME_BYTES_DEFAULT } from "../l3_stream/mod.ts";
import { resolveSocketAddress } from "../io/numeric_host.ts";
import { Session } from "./session.ts";

/** Longest sleep of the loop: a bound on what a lost wake-up could cost. */
const WAIT_US_MAX = 1_000_000;
/**
 * A wait of this length went through the event loop. One that looks at the socket does not, and takes
 * longer than asked for when the core is shared.
 */
const WAITED_US_MIN = 10_000;
/** Longest that the loop keeps the event loop from everything else while frames come without end. */
const YIELD_US_MAX = 1_000;
/** Turns that it gets then, of 1 to 8 µs each when there is nothing to do: a request takes several. */
const YIELD_TURNS = 4;
/** Promises that follow from each other between an event and what a program does about it. */
const QUIET_TICKS = 8;
/** Longest chain of them before the port is looked at again, for a program that goes on reading. */
const PROGRAM_TICKS_MAX = 512;
/** Promises between one message of a program and the next that may share its packet. */
const FLUSH_TICKS = 5;
/** Frames taken from the port before sending is looked at again: two bursts of acknowledgements. */
const RECEIVE_BURSTS_MAX = 4;

export interface DriverOptions extends Omit<EndpointOptions, "peers"> {
  port: Port;
  clock: Clock;
  /** Called for each connection that another end opened. */
  onSession?: (session: Session) => void;
  /** Called when a handshake that another end started fails. */
  onHandshakeFailed?: (error: NexusError) => void;
  /** In a group: called with what came here but is for another endpoint. */
  onStray?: (stray: Stray) => void;
  /** Called with what a callback threw; if it was that of a session, the session has been ended. */
  onFault?: (error: unknown) => void;
}

export type DialOptions = Omit<ConnectOptions, "address"> & { signal?: AbortSignal };

interface Dial {
  address: SocketAddress;
  resolve(session: Session): void;
  reject(error: NexusError): void;
}

export class Driver {
  readonly endpoint: Endpoint;
  readonly clock: Clock;
  readonly port: Port;
  onSession?: (session: Session) => void;
  onHandshakeFailed?: (error: NexusError) => void;
  onFault?: (error: unknown) => void;
  readonly #onStray: DriverOptions["onStray"];

  readonly #sessions = new Map<number, Session>();
  readonly #dials = new Map<number, Dial>();
  readonly #rx = new Burst();
  readonly #tx = new Burst();
  #lostBefore = 0;
  #flushQueued = false;
  #flushTicks = 0;
  /** How often the program took something, or something of the program's left. */
  #acts = 0;
  /** When the loop wakes up by itself; 0 while it is awake. */
  #sleepsUntilUs = 0;
  /** Events were handed out since the loop last waited. */
  #hasTold = false;
  /** No new dials; resolves when the goodbyes are said. */
  #drained?: Promise<void>;
  /** While draining: called when no handshake can become a session any more. */
  #handshakesOver?: () => void;
  #closing = false;
  #loop: Promise<void>;

  constructor(options: DriverOptions) {
    const { port, clock, onSession, onHandshakeFailed, onFault, onStray, ...endpoint } = options;
    this.onFault = onFault;
    this.#onStray = onStray;
    this.port = port;
    this.clock = clock;
    this.onSession = onSession;
    this.onHandshakeFailed = onHandshakeFailed;
    const frameBytesMax = port.neverFragments ? port.frameBytesMax : FRAME_BYTES_DEFAULT;
    this.endpoint = new Endpoint({ frameBytesMax, ...endpoint, peers: port, trains: port.trains });
    this.#loop = this.#run();
  }

  get sessions(): Iterable<Session> {
    return this.#sessions.values();
  }

  /** Packets declared lost on all connections since the start. */
  get packetsLost(): number {
    let lost = this.#lostBefore;
    for (const session of this.#sessions.values()) {
      lost += session.connection?.stats().packetsLost ?? 0;
    }
    return lost;
  }

  /**
   * Connects and authenticates.
   * @throws NexusError CONNECT_TIMEOUT, what the handshake refused, or CANCELLED by the signal
   */
  async dial(named: SocketAddress, options: DialOptions = {}): Promise<Session> {
    const { signal, ...rest } = options;
    const address = await resolveSocketAddress(named);
    return await new Promise((resolve, reject) => {
      if (this.#drained !== undefined) {
        return reject(new NexusError("CLOSED", "cannot connect: shutting down"));
      }
      if (signal?.aborted) return reject(cancelled(address));
      let id: number;
      try {
        id = this.endpoint.connect({ ...rest, address }, this.clock.nowUs(), this.#unixS());
      } catch (error) {
        return reject(error);
      }
      const onAbort = () => {
        if (!this.#dials.delete(id)) return;
        this.endpoint.abandon(id);
        reject(cancelled(address));
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      const settle = () => signal?.removeEventListener("abort", onAbort);
      this.#dials.set(id, {
        address,
        resolve: (session) => (settle(), resolve(session)),
        reject: (error) => (settle(), reject(error)),
      });
      this.touch(id);
    });
  }

  /** A connection was called into: look at it before the event loop goes on. */
  touch(id: number): void {
    this.endpoint.touch(id);
    if (this.#flushQueued || this.#closing) return;
    this.#flushQueued = true;
    this.#flushTicks = FLUSH_TICKS;
    queueMicrotask(this.#flush);
  }

  /** Sends what the program left, once it had the chance to leave more. */
  readonly #flush = (): void => {
    if (--this.#flushTicks > 0) return queueMicrotask(this.#flush);
    this.#flushQueued = false;
    this.#acts++;
    if (this.#closing) return;
    this.#transmit(this.clock.nowUs());
    this.#dispatch();
    // The loop may sleep past a deadline that is nearer now.
    if (this.endpoint.nextTimeoutUs() < this.#sleepsUntilUs) this.port.wake();
  };

  /** Sends what a touch left waiting, before something else overtakes it. */
  flush(): void {
    if (this.#flushQueued && !this.#closing) this.#transmit(this.clock.nowUs());
  }

  /** Hands in what came to another driver of the group (`onStray`). */
  receiveStray(stray: Stray): void {
    this.endpoint.receiveStray(stray, this.clock.nowUs(), this.#unixS());
    this.port.wake();
  }

  /** Closes every session, waits for the goodbyes up to `graceMs`, then closes the port. */
  async close(graceMs = 300): Promise<void> {
    await this.drain(graceMs);
    if (this.#closing) return this.#loop;
    this.#closing = true;
    this.port.wake();
    await this.#loop;
    for (const session of this.#sessions.values()) {
      session.abort(new NexusError("CLOSED", "connection closed: shutting down"));
    }
    this.#sessions.clear();
    await this.port.close();
  }

  /** No new connections; closes every session and waits for the goodbyes up to `graceMs`. */
  drain(graceMs = 300): Promise<void> {
    return this.#drained ??= this.#sayGoodbye(graceMs);
  }

  async #sayGoodbye(graceMs: number): Promise<void> {
    for (const [id, dial] of this.#dials) {
      this.endpoint.abandon(id);
      dial.reject(new NexusError("CLOSED", "cannot connect: shutting down"));
    }
    this.#dials.clear();
    this.endpoint.drain();
    const goodbyes: Promise<unknown>[] = [...this.#sessions.values()].map((session) => {
      sayGoodbyeTo(session);
      return session.closed;
    });
    if (this.endpoint.handshakeCount > 0) {
      goodbyes.push(new Promise<void>((resolve) => this.#handshakesOver = resolve));
    }
    let timer: ReturnType<typeof setTimeout> | undefined;
    const grace = new Promise<void>((resolve) => timer = setTimeout(resolve, graceMs));
    await Promise.race([Promise.all(goodbyes), grace]);
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // Lets the constructor finish.
    let yieldedUs = this.clock.nowUs();
    while (!this.#closing) {
      const isLone = this.#receive();
      const isAnswerDue = isLone && this.#hasTold;
      if (!isAnswerDue) this.#send();
      if (this.#hasTold) {
        this.#hasTold = false;
        await this.#giveTurn();
        if (this.#closing) return; // told just now, when no wait was there to be woken
        if (isAnswerDue) this.#send();
      }
      const nowUs = this.clock.nowUs();
      const waitUs = this.endpoint.nextTimeoutUs() - nowUs;
      const sleepUs = Math.max(0, Math.min(waitUs, WAIT_US_MAX));
      this.#sleepsUntilUs = nowUs + sleepUs;
      await this.port.wait(sleepUs);
      this.#sleepsUntilUs = 0;
      // A port that has frames, or looks for them itself, resolves at once: the rest of the
      // program (HTTP, timers, other sockets) must get its turn all the same.
      if (this.clock.nowUs() - nowUs > WAITED_US_MIN) yieldedUs = this.clock.nowUs();
      else if (nowUs - yieldedUs > YIELD_US_MAX) {
        for (let i = 0; i < YIELD_TURNS; i++) {
          await new Promise<void>((resolve) => setImmediate(resolve));
        }
        yieldedUs = this.clock.nowUs();
      }
    }
  }

  /**
   * What was told woke promises of the program. Their answers are to leave before the port looks for
   * frames, which holds the event loop; and what arrived is to be read while it is in the caches.
   */
  async #giveTurn(): Promise<void> {
    let seen = this.#acts;
    for (let ticks = 0, quiet = 0; quiet < QUIET_TICKS && ticks < PROGRAM_TICKS_MAX; ticks++) {
      await null;
      quiet = this.#acts === seen ? quiet + 1 : 0;
      seen = this.#acts;
    }
  }

  /** @internal the program took something that had arrived */
  noteRead(): void {
    this.#acts++;
  }

  /**
   * In, timers, events. True when a lone frame came: the program may answer it, in one packet with
   * the acknowledgement, and nothing else waits.
   */
  #receive(): boolean {
    const { endpoint, port } = this;
    let isLone = false;
    for (let i = 0; i < RECEIVE_BURSTS_MAX; i++) {
      const rx = this.#rx;
      rx.count = 0;
      if (port.rxBurst(rx) === 0) break;
      const nowUs = this.clock.nowUs();
      const unixS = this.#unixS();
      endpoint.receiveBurst(port.pool, rx, nowUs, unixS);
      port.pool.commit(rx.slot, rx.count, 0);
      // Asking the port again costs a system call.
      isLone = i === 0 && rx.count === 1 && rx.segment[0] === 0;
      if (isLone || endpoint.isFull) break;
    }
    endpoint.handleTimeouts(this.clock.nowUs());
    this.#dispatch();
    return isLone;
  }

  #send(): void {
    const { endpoint } = this;
    this.#transmit(this.clock.nowUs());
    this.#dispatch();
    if (this.#handshakesOver !== undefined && endpoint.handshakeCount === 0) this.#handshakesOver();
  }

  /** What the port does not take stays in the burst; the port wakes the loop when there is room. */
  #transmit(nowUs: number): void {
    const { endpoint, port } = this;
    const tx = this.#tx;
    const unixMs = this.clock.unixMs();
    for (;;) {
      if (!tx.full) endpoint.pollFrames(port.pool, tx, nowUs, unixMs);
      if (tx.count === 0) return;
      tx.shift(port.txBurst(tx));
      if (tx.count > 0) return;
    }
  }

  #dispatch(): void {
    for (;;) {
      const event = this.endpoint.pollEvent();
      if (event === undefined) break;
      this.#hasTold = true;
      switch (event.type) {
        case "connected": {
          const dial = this.#dials.get(event.connection);
          this.#dials.delete(event.connection);
          const address = this.endpoint.addressOf(event.connection);
          if (address === undefined) break; // Closed again within the same turn.
          const session = new Session(
            this,
            event.connection,
            address,
            event.handshake,
            event.initiator,
          );
          this.#sessions.set(event.connection, session);
          if (this.#drained !== undefined) sayGoodbyeTo(session);
          else if (event.initiator) dial === undefined ? session.close() : dial.resolve(session);
          else if (this.onSession === undefined) session.close();
          else this.#guarded(session, () => this.onSession!(session));
          break;
        }
        case "failed": {
          const dial = this.#dials.get(event.connection);
          this.#dials.delete(event.connection);
          if (event.initiator) dial?.reject(event.error);
          else this.#tolerated(() => this.onHandshakeFailed?.(event.error));
          break;
        }
        case "connection": {
          const session = this.#sessions.get(event.connection);
          if (session !== undefined) this.#guarded(session, () => session.handle(event.event));
          break;
        }
        case "closed":
          this.#lostBefore += this.#sessions.get(event.connection)?.finalStats?.packetsLost ?? 0;
          this.#sessions.delete(event.connection);
          break;
      }
    }
    for (;;) {
      const stray = this.endpoint.pollStray();
      if (stray === undefined) return;
      this.#tolerated(() => this.#onStray?.(stray));
    }
  }

  /** What a program does must not end the loop. */
  #tolerated(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.onFault?.(error);
    }
  }

  /** What a program does with one session must not end the loop of all: only that session ends. */
  #guarded(session: Session, call: () => void): void {
    try {
      call();
    } catch (error) {
      this.onFault?.(error);
      session.abort(new NexusError("INTERNAL", "connection closed: internal error"));
    }
  }

  #unixS(): number {
    return Math.floor(this.clock.unixMs() / 1000);
  }
}

function sayGoodbyeTo(session: Session): void {
  session.close(CloseReason.GOING_AWAY, "going away");
}

function cancelled(address: SocketAddress): NexusError {
  return new NexusError(
    "CANCELLED",
    `cannot connect to ${formatSocketAddress(address)}: the caller gave up`,
  );
}
