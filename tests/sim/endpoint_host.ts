/** A whole Endpoint as a host of the simulated network; its name is its address, "host:port". */
import { formatSocketAddress, parseSocketAddress, type SocketAddress } from "../../lib/base/mod.ts";
import {
  type ConnectionId,
  Endpoint,
  type EndpointEvent,
  type EndpointOptions,
  type PeerNumbers,
} from "../../lib/endpoint/mod.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { Burst, DESCRIPTOR_ECN_MASK, Pool } from "../../lib/l1_link/mod.ts";
import type { Connection } from "../../lib/l3_stream/mod.ts";
import {
  type CertificateAuthority,
  createCsr,
  Identity,
  type MicClaims,
} from "../../lib/l4_trust/mod.ts";
import type { SimDatagram, SimHost, SimNetwork } from "./network.ts";

export const VNI = 7;
/** Wall time at virtual time 0. */
export const UNIX_S = 1_800_000_000;
const POOL_SLOTS = 64;

/** What uses the connections of a host. */
export interface Application {
  /** Something happened; the connection may be called here. */
  onEvent(event: EndpointEvent, host: EndpointHost): void;
}

/** An endpoint with a certificate of the authority, and an application on it. */
export class EndpointHost implements SimHost, PeerNumbers {
  readonly endpoint: Endpoint;
  readonly #application: Application;
  readonly #pool = new Pool({ slots: POOL_SLOTS });
  readonly #burst = new Burst();
  readonly #peers: SocketAddress[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(
    readonly network: SimNetwork,
    readonly name: string,
    authority: CertificateAuthority,
    application: Application,
    options: Partial<EndpointOptions> = {},
    claims: MicClaims = {},
  ) {
    this.#application = application;
    const random = network.random(name).fill;
    const identity = Identity.generate(random, nodeEngine);
    const mic = authority.issue(createCsr(identity, claims), {
      unixS: UNIX_S,
      vni: VNI,
      role: "node",
    });
    this.endpoint = new Endpoint({
      identity,
      chain: authority.chainOf(mic),
      roots: [authority.fingerprint],
      vni: VNI,
      engine: nodeEngine,
      random,
      peers: this,
      frameBytesMax: this.#pool.frameBytesMax,
      ...options,
    });
    network.addHost(name, this);
  }

  /** Starts a handshake with another host. */
  connect(to: string): ConnectionId {
    const address = parseSocketAddress(to);
    const id = this.endpoint.connect({ address }, this.network.nowUs, this.#unixS);
    this.network.wake(this.name);
    return id;
  }

  /** A live connection, marked as having work. */
  use(id: ConnectionId): Connection {
    const connection = this.endpoint.connection(id);
    if (connection === undefined) {
      throw this.network.failure(`${this.name} has no connection ${id}`);
    }
    this.endpoint.touch(id);
    return connection;
  }

  get #unixS(): number {
    return UNIX_S + Math.floor(this.network.nowUs / 1e6);
  }

  // ---- peer numbers -----------------------------------------------------------------------

  peer(address: SocketAddress): number {
    const name = formatSocketAddress(address);
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    this.#numbers.set(name, this.#peers.length);
    return this.#peers.push(address) - 1;
  }
  peerAddress(peer: number): SocketAddress | undefined {
    return this.#peers[peer];
  }

  // ---- host -------------------------------------------------------------------------------

  receive(bytes: Uint8Array, from: string, nowUs: number, ecn: number): void {
    const peer = this.#numbers.get(from) ?? this.peer(parseSocketAddress(from));
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.endpoint.receiveFrame(bytes, view, 0, bytes.length, peer, ecn, nowUs, this.#unixS);
  }

  poll(nowUs: number): SimDatagram[] {
    const { endpoint } = this;
    const out: SimDatagram[] = [];
    endpoint.handleTimeouts(nowUs);
    this.#dispatch();
    // It is the polling of frames that brings a connection's events out, even when there are none.
    while (this.#pollInto(out, nowUs) || this.#dispatch());
    return out;
  }

  /** Hands all events to the application; whether there were any. */
  #dispatch(): boolean {
    let event = this.endpoint.pollEvent();
    if (event === undefined) return false;
    for (; event; event = this.endpoint.pollEvent()) {
      this.#application.onEvent(event, this);
    }
    return true;
  }

  #pollInto(out: SimDatagram[], nowUs: number): boolean {
    const pool = this.#pool;
    const burst = this.#burst;
    burst.clear();
    const unixMs = UNIX_S * 1_000 + nowUs / 1_000;
    if (this.endpoint.pollFrames(pool, burst, nowUs, unixMs) === 0) return false;
    for (let i = 0; i < burst.count; i++) {
      const at = burst.offset[i];
      out.push({
        to: formatSocketAddress(this.#peers[burst.peer[i]]),
        bytes: pool.bytes.slice(at, at + burst.length[i]),
        ecn: burst.flags[i] & DESCRIPTOR_ECN_MASK,
      });
      pool.free(burst.slot[i]);
    }
    return true;
  }

  nextTimeoutUs(): number {
    return this.endpoint.nextTimeoutUs();
  }
}
