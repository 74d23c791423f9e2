/** Two endpoints joined by a scripted wire in virtual time: no sockets, no clock. */
import { SeededRandom, type SocketAddress } from "../../lib/base/mod.ts";
import {
  Endpoint,
  type EndpointEvent,
  type EndpointOptions,
  type PeerNumbers,
} from "../../lib/endpoint/mod.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { Burst, Pool } from "../../lib/l1_link/mod.ts";
import { CertificateAuthority, createCsr, Identity } from "../../lib/l4_trust/mod.ts";

export const VNI = 7;
export const UNIX_S = 1_800_000_000;
/** One way. */
const DELAY_US = 5_000;

/** Decides what becomes of a frame: false = lost. May change the bytes. */
export type Wire = (frame: Uint8Array, from: string, to: string) => boolean;

interface Flight {
  atUs: number;
  from: string;
  to: string;
  frame: Uint8Array;
}

export class Host implements PeerNumbers {
  readonly endpoint: Endpoint;
  readonly events: EndpointEvent[] = [];
  readonly pool = new Pool({ slots: 256 });
  readonly #peers: SocketAddress[] = [];

  constructor(public address: SocketAddress, options: Omit<EndpointOptions, "peers">) {
    this.endpoint = new Endpoint({ ...options, peers: this });
  }

  get name(): string {
    return `${this.address.host}:${this.address.port}`;
  }
  peer(address: SocketAddress): number {
    const known = this.#peers.findIndex(({ host, port }) =>
      host === address.host && port === address.port
    );
    return known >= 0 ? known : this.#peers.push(address) - 1;
  }
  peerAddress(peer: number): SocketAddress | undefined {
    return this.#peers[peer];
  }
  /** Events of a type, so far. */
  of<T extends EndpointEvent["type"]>(type: T): Extract<EndpointEvent, { type: T }>[] {
    return this.events.filter((event) => event.type === type) as never;
  }
}

/** A virtual network of endpoints. */
export class Net {
  readonly random: SeededRandom;
  readonly hosts = new Map<string, Host>();
  readonly sent: Flight[] = [];
  nowUs = 0;
  wire: Wire = () => true;
  #flights: Flight[] = [];

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  /** A host with a certificate of the authority. */
  host(
    port: number,
    authority: CertificateAuthority,
    options: Partial<EndpointOptions> = {},
  ): Host {
    const identity = Identity.generate(this.random.fill, nodeEngine);
    const mic = authority.issue(createCsr(identity), { unixS: UNIX_S, vni: VNI, role: "node" });
    const host = new Host({ host: "10.0.0.1", port }, {
      identity,
      chain: authority.chainOf(mic),
      roots: [authority.fingerprint],
      vni: VNI,
      engine: nodeEngine,
      random: this.random.fill,
      ...options,
    });
    this.hosts.set(host.name, host);
    return host;
  }

  /** From now on the host sends from, and is reached at, another address only. */
  move(host: Host, address: SocketAddress): void {
    this.hosts.delete(host.name);
    host.address = address;
    this.hosts.set(host.name, host);
  }

  authority(): CertificateAuthority {
    return CertificateAuthority.create(this.random.fill, nodeEngine, { unixS: UNIX_S, vni: VNI });
  }

  /** Puts a frame on the wire as if `from` had sent it. */
  inject(frame: Uint8Array, from: string, to: Host): void {
    this.#flights.push({ atUs: this.nowUs + DELAY_US, from, to: to.name, frame: frame.slice() });
  }

  /** Runs until the condition holds or the virtual time is over; whether it holds. */
  run(condition: () => boolean, forUs: number): boolean {
    const endUs = this.nowUs + forUs;
    for (let turns = 0; turns < 100_000; turns++) {
      this.#transmit();
      if (condition()) return true;
      const nextUs = Math.min(
        ...this.#flights.map((flight) => flight.atUs),
        ...[...this.hosts.values()].map((host) => host.endpoint.nextTimeoutUs()),
      );
      if (nextUs > endUs) {
        this.nowUs = endUs;
        return false;
      }
      this.nowUs = Math.max(this.nowUs, nextUs);
      this.#deliver();
    }
    throw new Error(`the network did not come to rest; seed ${this.random.seed}`);
  }

  #transmit(): void {
    const burst = new Burst();
    for (const host of this.hosts.values()) {
      for (;;) {
        burst.clear();
        const unixMs = UNIX_S * 1000 + this.nowUs / 1000;
        if (host.endpoint.pollFrames(host.pool, burst, this.nowUs, unixMs) === 0) break;
        for (let i = 0; i < burst.count; i++) {
          const at = burst.offset[i];
          const frame = host.pool.bytes.slice(at, at + burst.length[i]);
          host.pool.free(burst.slot[i]);
          const { host: name, port } = host.peerAddress(burst.peer[i])!;
          const to = `${name}:${port}`;
          const flight = { atUs: this.nowUs + DELAY_US, from: host.name, to, frame };
          this.sent.push({ ...flight, frame: frame.slice() });
          if (this.wire(frame, host.name, to)) this.#flights.push(flight);
        }
      }
      for (let event = host.endpoint.pollEvent(); event; event = host.endpoint.pollEvent()) {
        host.events.push(event);
      }
    }
  }

  #deliver(): void {
    const due = this.#flights.filter((flight) => flight.atUs <= this.nowUs);
    this.#flights = this.#flights.filter((flight) => flight.atUs > this.nowUs);
    for (const { from, to, frame } of due) {
      const host = this.hosts.get(to);
      if (host === undefined) continue;
      const [address, port] = from.split(":");
      host.endpoint.receiveFrame(
        frame,
        new DataView(frame.buffer),
        0,
        frame.length,
        host.peer({ host: address, port: Number(port) }),
        0,
        this.nowUs,
        UNIX_S + Math.floor(this.nowUs / 1e6),
      );
    }
    for (const host of this.hosts.values()) host.endpoint.handleTimeouts(this.nowUs);
  }
}
