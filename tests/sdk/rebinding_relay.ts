/** A NAT between a client and a server: it can forget its binding, so that the client's port changes. */
import type { SocketAddress } from "../../lib/base/mod.ts";

type Address = Deno.NetAddr;

export class RebindingRelay implements AsyncDisposable {
  readonly address: SocketAddress;
  readonly #inside: Deno.DatagramConn;
  readonly #outside: Deno.DatagramConn[] = [];
  readonly #server: Address;
  readonly #pumps: Promise<void>[] = [];
  #client?: Deno.Addr;

  constructor(server: SocketAddress) {
    this.#server = { transport: "udp", hostname: server.host, port: server.port };
    this.#inside = open();
    const { hostname, port } = this.#inside.addr as Address;
    this.address = { host: hostname, port };
    this.rebind();
    this.#pumps.push(this.#pump(this.#inside, (bytes, from) => {
      this.#client = from;
      return this.#outside.at(-1)!.send(bytes, this.#server);
    }));
  }

  /** From now on the server sees another port. What it sends to the ones before still arrives. */
  rebind(): void {
    const socket = open();
    this.#outside.push(socket);
    this.#pumps.push(this.#pump(socket, (bytes) => this.#inside.send(bytes, this.#client!)));
  }

  async #pump(
    socket: Deno.DatagramConn,
    pass: (bytes: Uint8Array, from: Deno.Addr) => Promise<number>,
  ): Promise<void> {
    for await (const [bytes, from] of socket) await pass(bytes, from).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of [this.#inside, ...this.#outside]) socket.close();
    await Promise.all(this.#pumps);
  }
}

function open(): Deno.DatagramConn {
  return Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
}
