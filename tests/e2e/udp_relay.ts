/**
 * A UDP relay in the test process, for looking at what two nodes say to each other: a node
 * advertises the relay's address as its own, the relay passes everything on and keeps a copy.
 */
export class UdpRelay {
  /** Every datagram, in both directions, in the order it came. */
  readonly datagrams: Uint8Array[] = [];
  readonly #front: Deno.DatagramConn;
  /** One socket for each peer, so that the node behind the relay can tell them apart. */
  readonly #backs = new Map<string, Deno.DatagramConn>();
  readonly #pumps: Promise<void>[] = [];
  #target?: Deno.NetAddr;

  constructor() {
    this.#front = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    this.#pumps.push(this.#pumpIn());
  }

  get address(): string {
    return `127.0.0.1:${(this.#front.addr as Deno.NetAddr).port}`;
  }
  get bytes(): number {
    return this.datagrams.reduce((sum, { length }) => sum + length, 0);
  }

  /** Where datagrams go; what comes before is dropped. */
  setTarget(address: string): void {
    const [hostname, port] = address.split(":");
    this.#target = { transport: "udp", hostname, port: Number(port) };
  }

  /** Sends something to the node behind the relay that seems to come from a peer of its. */
  async inject(bytes: Uint8Array): Promise<void> {
    const [back] = this.#backs.values();
    await back.send(bytes, this.#target!);
  }

  async close(): Promise<void> {
    for (const socket of [this.#front, ...this.#backs.values()]) socket.close();
    await Promise.all(this.#pumps);
  }

  async #pumpIn(): Promise<void> {
    for await (const [bytes, from] of this.#front) {
      if (this.#target === undefined) continue;
      this.datagrams.push(bytes.slice());
      const { port } = from as Deno.NetAddr;
      let back = this.#backs.get(String(port));
      if (back === undefined) {
        back = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
        this.#backs.set(String(port), back);
        this.#pumps.push(this.#pumpOut(back, from));
      }
      await back.send(bytes, this.#target).catch(() => {}); // The node is gone: a lost datagram.
    }
  }

  async #pumpOut(back: Deno.DatagramConn, to: Deno.Addr): Promise<void> {
    for await (const [bytes] of back) {
      this.datagrams.push(bytes.slice());
      await this.#front.send(bytes, to).catch(() => {});
    }
  }
}
