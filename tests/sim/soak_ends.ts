/**
 * What the soak runs on: two ends with a TaskRunner each, either bare Connections with a null
 * protection or whole Endpoints with handshake and records.
 */
import type { EndpointOptions } from "../../lib/endpoint/mod.ts";
import { NEVER } from "../../lib/base/mod.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import type { Connection, StreamConfig } from "../../lib/l3_stream/mod.ts";
import { CertificateAuthority } from "../../lib/l4_trust/mod.ts";
import { ConnectionHost, unlessRefused } from "./connection_harness.ts";
import { EndpointHost, UNIX_S, VNI } from "./endpoint_host.ts";
import type { SimNetwork } from "./network.ts";
import { TaskRunner } from "./tasks.ts";

export const CLIENT = "10.0.0.1:5001";
export const SERVER = "10.0.0.2:6477";

/** One end of a run. */
export interface SoakEnd {
  readonly name: string;
  readonly config: StreamConfig;
  /** Undefined until the handshake is done. */
  readonly tasks: TaskRunner | undefined;
  /** Lets the application act and the end send. */
  kick(): void;
  close(): void;
  /** Opens another path to where the peer is, if it accepts one more. */
  openPath(): void;
  /** Whether nothing of the connection is left: no state, no keys, no timer. */
  readonly isForgotten: boolean;
}

/** A bare connection. */
class ConnectionEnd implements SoakEnd {
  readonly #host: ConnectionHost;
  constructor(
    readonly network: SimNetwork,
    readonly name: string,
    peer: string,
    readonly config: StreamConfig,
    frameBytes: number,
  ) {
    const side = name === CLIENT ? "client" : "server";
    this.#host = new ConnectionHost(network, name, peer, side, config, frameBytes);
    network.addHost(name, this.#host);
  }
  get tasks(): TaskRunner {
    return this.#host.tasks;
  }
  kick(): void {
    this.network.wake(this.name);
  }
  close(): void {
    this.#host.connection.close(0, "done", this.network.nowUs);
    this.kick();
  }
  openPath(): void {
    this.#host.openPath();
    this.kick();
  }
  get isForgotten(): boolean {
    const { connection, protection } = this.#host;
    return connection.state === "closed" && connection.nextTimeoutUs() === NEVER &&
      protection.isWiped;
  }
}

/** A whole endpoint; one connection. */
class EndpointEnd implements SoakEnd {
  readonly host: EndpointHost;
  tasks: TaskRunner | undefined;
  #id = 0;
  constructor(
    readonly network: SimNetwork,
    readonly name: string,
    authority: CertificateAuthority,
    readonly config: StreamConfig,
    options: Partial<EndpointOptions>,
  ) {
    this.host = new EndpointHost(network, name, authority, {
      onEvent: (event, host) => {
        if (event.type === "connected") {
          this.#id = event.connection;
          this.tasks = new TaskRunner(host.use(event.connection));
        } else if (event.type === "failed" && this.tasks === undefined) {
          // Later ones come of old copies of a HELLO, which begin a handshake that nobody ends.
          throw network.failure(`${name}: ${event.error.message}`, event.error);
        } else if (event.type === "connection") {
          network.note(name, event.event.type);
          this.tasks!.onEvent(event.event);
          this.tasks!.turn();
          host.endpoint.touch(this.#id);
        }
      },
    }, options);
  }
  get #connection(): Connection | undefined {
    return this.host.endpoint.connection(this.#id);
  }
  kick(): void {
    if (this.#connection !== undefined) this.tasks!.turn();
    this.host.endpoint.touch(this.#id);
    this.network.wake(this.name);
  }
  close(): void {
    this.#connection?.close(0, "done", this.network.nowUs);
    this.kick();
  }
  openPath(): void {
    const { endpoint } = this.host;
    const address = endpoint.addressOf(this.#id);
    if (this.#connection === undefined || address === undefined) return;
    unlessRefused(() => endpoint.openPath(this.#id, address));
    this.kick();
  }
  get isForgotten(): boolean {
    const { endpoint } = this.host;
    return endpoint.connectionCount === 0 && endpoint.nextTimeoutUs() === NEVER;
  }
}

/** Client and server as bare connections; `frameBytes` is what a frame may at most be. */
export function connectionEnds(
  network: SimNetwork,
  config: () => StreamConfig,
  frameBytes: number,
): [SoakEnd, SoakEnd] {
  return [
    new ConnectionEnd(network, CLIENT, SERVER, config(), frameBytes),
    new ConnectionEnd(network, SERVER, CLIENT, config(), frameBytes),
  ];
}

/** The same as endpoints, the client about to connect. */
export function endpointEnds(
  network: SimNetwork,
  config: () => StreamConfig,
  handshakeTimeoutUs: number,
): [SoakEnd, SoakEnd] {
  const random = network.random("authority").fill;
  const authority = CertificateAuthority.create(random, nodeEngine, { unixS: UNIX_S, vni: VNI });
  const make = (name: string) => {
    const stream = config();
    const options = { stream, timeoutUs: handshakeTimeoutUs };
    return new EndpointEnd(network, name, authority, stream, options);
  };
  const client = make(CLIENT);
  const server = make(SERVER);
  client.host.connect(SERVER);
  return [client, server];
}
