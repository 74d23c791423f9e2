/**
 * A network in virtual time: hosts, links with faults, one event queue. Nothing here reads a clock
 * or does I/O, and all randomness grows from the seed, so a run is repeated exactly by its seed.
 *
 * The way of a datagram: host.poll → link (link.ts: faults, queue, line) → host.receive →
 * host.poll … A NAT may stand before a host: others then see another name, which changes when the
 * NAT rebinds, and what is sent to the old name vanishes.
 */
import { NEVER, SeededRandom } from "../../lib/base/mod.ts";
import { EventQueue } from "./event_queue.ts";
import { type Carrier, Link, type LinkOptions, type Packet } from "./link.ts";

export type { LinkOptions } from "./link.ts";

/** A datagram on its way out of a host. */
export interface SimDatagram {
  /** Name of the receiving host, or the one its NAT shows. */
  to: string;
  bytes: Uint8Array;
  /** ECN field of the IP header, 0 when absent. */
  ecn?: number;
}

/** Anything that speaks datagrams: a connection, an endpoint, a script. */
export interface SimHost {
  /** A datagram arrived; the bytes are the host's own copy, `from` the name that is visible. */
  receive(bytes: Uint8Array, from: string, nowUs: number, ecn: number): void;
  /** Handles what is due at nowUs and returns everything there is to send. */
  poll(nowUs: number): SimDatagram[];
  /** When poll wants to be called next; NEVER when idle. */
  nextTimeoutUs(): number;
}

/** Bounds of a run; passing one is a failure. */
export interface RunOptions {
  /** Most events handled. Default 2,000,000. */
  eventsMax?: number;
  /** Virtual time that must not pass. Default: no bound. */
  untilUs?: number;
}

interface TraceEntry {
  atUs: number;
  text: string;
  from: string;
  /** "": not a datagram but a note of `from`. */
  to: string;
  bytes: number;
}

/** Trace entries kept for the message of a failure. */
const TRACE_MAX = 60;
/** Wake-ups of one host at one instant before it counts as spinning. */
const SPINS_MAX = 1_000;

interface HostEntry {
  name: string;
  host: SimHost;
  /** Time of the wake-up that is in the queue and counts; older ones are ignored. */
  wakeAtUs: number;
  spins: number;
  spinUs: number;
}

/** The network; `seed` decides everything that is random. */
export class SimNetwork implements Carrier {
  /** Datagrams to names that a NAT had given up. */
  unreachable = 0;
  #nowUs = 0;
  #events = 0;
  readonly #queue = new EventQueue();
  readonly #hosts = new Map<string, HostEntry>();
  readonly #links = new Map<string, Map<string, Link>>();
  /** What others see instead of a host's name, and whose such a name is. */
  readonly #visible = new Map<string, string>();
  readonly #owner = new Map<string, string>();
  readonly #trace: TraceEntry[] = [];
  #traceAt = 0;

  constructor(readonly seed: number) {}

  /** Virtual time, microseconds since the network was made. */
  get nowUs(): number {
    return this.#nowUs;
  }
  /** Events handled so far. */
  get events(): number {
    return this.#events;
  }

  /** A generator of its own for each name, so that one user does not disturb another. */
  random(name: string): SeededRandom {
    let hash = 0x811c9dc5; // FNV-1a
    for (let i = 0; i < name.length; i++) {
      hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    }
    return new SeededRandom((hash ^ Math.imul(this.seed, 0x9e3779b1)) >>> 0);
  }

  /** Time of what happens next, NEVER when nothing is left. */
  get nextEventUs(): number {
    return this.#queue.nextUs;
  }

  /** A link that carries nothing. */
  deadLink(): Link {
    return new Link({ lossRate: 1 }, this.random("dead"), this);
  }

  /** Adds a host and lets it send at once. */
  addHost(name: string, host: SimHost): void {
    this.#hosts.set(name, { name, host, wakeAtUs: NEVER, spins: 0, spinUs: -1 });
    this.wake(name);
  }

  /** Joins two hosts, both ways alike, or with `back` for the way from b to a. */
  link(a: string, b: string, options: LinkOptions = {}, back: LinkOptions = options): void {
    this.shareLink(a, b, new Link(options, this.random(`${a}>${b}`), this));
    this.shareLink(b, a, new Link(back, this.random(`${b}>${a}`), this));
  }

  /** Sends what goes from one host to another through a link that exists: a shared bottleneck. */
  shareLink(from: string, to: string, link: Link): void {
    let links = this.#links.get(from);
    if (links === undefined) this.#links.set(from, links = new Map());
    links.set(to, link);
  }

  /** The link from one host to another, to change its options or read its counters. */
  linkBetween(from: string, to: string): Link {
    const link = this.#links.get(from)?.get(to);
    if (link === undefined) throw this.failure(`no link from ${from} to ${to}`);
    return link;
  }

  /**
   * Puts a NAT before a host, or rebinds it: from now on others see `visible`. What is on its way
   * to the name before is lost.
   */
  rebind(host: string, visible: string): void {
    this.#owner.delete(this.#visible.get(host) ?? "");
    this.#visible.set(host, visible);
    this.#owner.set(visible, host);
    this.note(host, `is ${visible} to others`);
  }

  /** Calls the function at a virtual time. */
  at(atUs: number, action: () => void): void {
    this.#queue.push(Math.max(atUs, this.#nowUs), action);
  }

  /** Polls a host soon: its application did something. */
  wake(name: string): void {
    this.#scheduleWake(this.#host(name), this.#nowUs);
  }

  /** Puts a datagram on the link. The bytes are copied. */
  send(from: string, to: string, bytes: Uint8Array, ecn = 0): void {
    const host = this.#ownerOf(to);
    if (host === undefined) return this.#toNobody(from, to, bytes);
    const visible = this.#visible.get(from) ?? from;
    const packet = { from: visible, to, bytes: bytes.slice(), ecn, enqueuedUs: this.#nowUs };
    this.linkBetween(from, host).send(packet);
  }

  /** For links: see Carrier. */
  carry(packet: Packet, atUs: number, text: string): void {
    const { from, to, bytes } = packet;
    this.#trail(from, to, bytes.length, text);
    if (atUs === NEVER) return;
    this.#queue.push(atUs, () => {
      const host = this.#ownerOf(to); // a NAT may have forgotten the name meanwhile
      if (host === undefined) return this.#toNobody(from, to, bytes);
      const entry = this.#host(host);
      entry.host.receive(bytes, from, this.#nowUs, packet.ecn);
      this.#turn(entry);
    });
  }

  /**
   * Runs until a virtual time or until the condition holds after an event. An unmet condition when
   * nothing is left to happen, or a bound of the options, is a failure. Returns the virtual time.
   */
  run(until: number | (() => boolean), options: RunOptions = {}): number {
    const { eventsMax = 2_000_000, untilUs = NEVER } = options;
    const stopUs = typeof until === "number" ? until : NEVER;
    const condition = typeof until === "number" ? () => false : until;
    const eventsLimit = this.#events + eventsMax;
    while (!condition()) {
      const nextUs = this.#queue.nextUs;
      if (nextUs > stopUs) {
        this.#nowUs = stopUs;
        return stopUs;
      }
      if (nextUs === NEVER) {
        if (stopUs === NEVER && typeof until === "number") return this.#nowUs;
        throw this.failure("nothing is left to happen and the condition does not hold");
      }
      if (nextUs > untilUs) throw this.failure(`the condition does not hold after ${untilUs} µs`);
      if (this.#events >= eventsLimit) throw this.failure(`more than ${eventsMax} events`);
      this.#events++;
      this.#nowUs = nextUs;
      this.#queue.pop()();
    }
    return this.#nowUs;
  }

  /** An error that names seed and time and shows what happened last. */
  failure(message: string, cause?: unknown): Error {
    return new Error(
      `simulation, seed ${this.seed}, at ${this.#nowUs} µs: ${message}\n${this.traceText()}`,
      { cause },
    );
  }

  /** Adds a line to the trace: something a host did or learned. */
  note(host: string, text: string): void {
    this.#trail(host, "", 0, text);
  }

  /** The last datagrams and notes, one a line, oldest first. */
  traceText(): string {
    const entries = [
      ...this.#trace.slice(this.#traceAt),
      ...this.#trace.slice(0, this.#traceAt),
    ];
    return entries.map(({ atUs, from, to, bytes, text }) => {
      const what = to === "" ? `${from}: ${text}` : `${from} > ${to}  ${bytes} B  ${text}`;
      return `  ${(atUs / 1000).toFixed(3).padStart(12)} ms  ${what}`;
    }).join("\n");
  }

  #host(name: string): HostEntry {
    const entry = this.#hosts.get(name);
    if (entry === undefined) throw this.failure(`no host ${name}`);
    return entry;
  }

  #toNobody(from: string, to: string, { length }: Uint8Array): void {
    this.unreachable++;
    this.#trail(from, to, length, "nobody has this name");
  }

  /** The host of a name; undefined: it was a NAT's and is forgotten. */
  #ownerOf(name: string): string | undefined {
    return this.#owner.get(name) ??
      (this.#hosts.has(name) && !this.#visible.has(name) ? name : undefined);
  }

  /** Lets a host send, then sees to its next wake-up. */
  #turn(entry: HostEntry): void {
    for (const { to, bytes, ecn } of entry.host.poll(this.#nowUs)) {
      this.send(entry.name, to, bytes, ecn);
    }
    this.#scheduleWake(entry, entry.host.nextTimeoutUs());
  }

  #scheduleWake(entry: HostEntry, wantedUs: number): void {
    if (Number.isNaN(wantedUs)) throw this.failure(`the next timeout of ${entry.name} is NaN`);
    const atUs = Math.max(wantedUs, this.#nowUs);
    if (atUs === entry.wakeAtUs) return;
    entry.wakeAtUs = atUs;
    if (atUs === NEVER) return;
    this.#queue.push(atUs, () => {
      if (entry.wakeAtUs !== this.#nowUs) return; // another time was set since
      entry.wakeAtUs = NEVER;
      if (entry.spinUs !== this.#nowUs) {
        entry.spinUs = this.#nowUs;
        entry.spins = 0;
      } else if (++entry.spins > SPINS_MAX) {
        throw this.failure(`${entry.name} wants to be woken at the same time again and again`);
      }
      this.#turn(entry);
    });
  }

  #trail(from: string, to: string, bytes: number, text: string): void {
    this.#trace[this.#traceAt] = { atUs: this.#nowUs, from, to, bytes, text };
    this.#traceAt = (this.#traceAt + 1) % TRACE_MAX;
  }
}

/**
 * Runs a simulation with a seed; a failure of any kind is thrown again with the seed, the last
 * datagrams and the command that repeats it.
 */
export function simulate<T>(seed: number, replay: string, body: (network: SimNetwork) => T): T {
  const network = new SimNetwork(seed);
  try {
    return body(network);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(
      `seed ${seed}, virtual time ${network.nowUs} µs: ${message}\nreplay: ${replay}\n` +
        (message.startsWith("simulation, seed") ? "" : network.traceText()),
      { cause: error },
    );
  }
}
