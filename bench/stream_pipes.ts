/**
 * The competitors of bench/stream.ts behind one interface, each as fast as this runtime offers it:
 * raw streams, long reads and writes, AES-256-GCM everywhere.
 */
import {
  MODE_RELIABLE_ORDERED,
  MODE_RELIABLE_UNORDERED,
  type StreamConfig,
} from "../lib/l3_stream/mod.ts";
import type { PortKind } from "../lib/io/open_port.ts";
import type { Channel, Session } from "../lib/sdk/mod.ts";
import { benchAuthority, benchDriver } from "./mesh.ts";

/** One stream of an encrypted connection, for one reader and one writer. */
export interface Pipe {
  /** Resolves when the transport has taken all of it. */
  write(bytes: Uint8Array): Promise<void>;
  /** Waits for bytes and says how many came; 0: there will be no more. */
  read(): Promise<number>;
}

/** Somebody who waits for one connection. */
export interface Listening {
  readonly port: number;
  readonly accepted: Promise<Pipe>;
}

export interface Contender {
  listen(host: string): Promise<Listening>;
  dial(host: string, port: number): Promise<Pipe>;
}

/** PEM texts, for the peers that need a certificate of the web's kind. */
export interface WebCertificate {
  readonly cert: string;
  readonly key: string;
}

/** RU writes are cut into messages of this size. */
const MESSAGE_BYTES = 100;
const READ_BYTES = 1_048_576;
/**
 * What the kernel lets the buffers of a TCP connection grow to (tcp_rmem), from the start: where
 * congestion control is compared, no window of another kind may be the limit.
 */
const LARGE_BUFFERS = { sendBufferBytes: 6 * 1_048_576, streamWindowBytes: 6 * 1_048_576 };
const ALPN = ["nexus-bench"];

/** As rows name them. */
export type ContenderName =
  | "nexus"
  | "nexus_portable"
  | "nexus_ru"
  | "nexus_cubic"
  | "nexus_bbr"
  | "tls_tcp"
  | "deno_quic";

/** The contender of that name. Only peers look at the certificate. */
export function contender(name: ContenderName, certificate: () => WebCertificate): Contender {
  switch (name) {
    case "nexus":
      return nexus("auto", MODE_RELIABLE_ORDERED);
    case "nexus_portable":
      return nexus("udp", MODE_RELIABLE_ORDERED);
    case "nexus_ru":
      return nexus("auto", MODE_RELIABLE_UNORDERED);
    case "nexus_cubic":
      return nexus("auto", MODE_RELIABLE_ORDERED, { congestion: "cubic", ...LARGE_BUFFERS });
    case "nexus_bbr":
      return nexus("auto", MODE_RELIABLE_ORDERED, { congestion: "bbr", ...LARGE_BUFFERS });
    case "tls_tcp":
      return tls(certificate());
    case "deno_quic":
      return quic(certificate());
  }
}

type NexusMode = typeof MODE_RELIABLE_ORDERED | typeof MODE_RELIABLE_UNORDERED;

function nexus(kind: PortKind, mode: NexusMode, stream?: Partial<StreamConfig>): Contender {
  const pipe = mode === MODE_RELIABLE_ORDERED ? bytePipe : messagePipe;
  return {
    async listen(host) {
      const { promise: accepted, resolve } = Promise.withResolvers<Pipe>();
      const onSession = (session: Session) => {
        session.onChannel = (channel) => resolve(pipe(channel));
      };
      const { address } = await benchDriver(benchAuthority(), {
        host,
        kind,
        onSession,
        stream,
      });
      return { port: address.port, accepted };
    },
    async dial(host, port) {
      const { driver } = await benchDriver(benchAuthority(), {
        host: anyOf(host),
        kind,
        stream,
      });
      const session = await driver.dial({ host, port });
      return pipe(session.open(mode));
    },
  };
}

/** Where a socket listens that is to reach `host`: loopback stays on loopback. */
function anyOf(host: string): string {
  return host === "127.0.0.1" ? host : "0.0.0.0";
}

function bytePipe(channel: Channel): Pipe {
  return {
    write: (bytes) => channel.sendBytes(bytes),
    read: async () => (await channel.receiveBytes())?.length ?? 0,
  };
}

/** Bytes of a write beyond whole messages are not sent. */
function messagePipe(channel: Channel): Pipe {
  return {
    async write(bytes) {
      const message = bytes.subarray(0, MESSAGE_BYTES); // What is in it does not matter.
      for (let at = MESSAGE_BYTES; at <= bytes.length; at += MESSAGE_BYTES) {
        await channel.send(message);
      }
    },
    read: async () => (await channel.receive())?.length ?? 0,
  };
}

function tls({ cert, key }: WebCertificate): Contender {
  const pipe = (connection: Deno.TlsConn): Pipe => {
    const buffer = new Uint8Array(READ_BYTES);
    return {
      async write(bytes) {
        for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
      },
      read: async () => await connection.read(buffer) ?? 0,
    };
  };
  return {
    // deno-lint-ignore require-await -- one interface for all
    async listen(hostname) {
      const listener = Deno.listenTls({ hostname, port: 0, cert, key });
      return { port: listener.addr.port, accepted: listener.accept().then(pipe) };
    },
    dial: async (hostname, port) =>
      pipe(await Deno.connectTls({ hostname, port, caCerts: [cert] })),
  };
}

function quic({ cert, key }: WebCertificate): Contender {
  const pipe = ({ readable, writable }: Deno.QuicBidirectionalStream): Pipe => {
    const writer = writable.getWriter();
    const reader = readable.getReader({ mode: "byob" });
    let buffer = new Uint8Array(READ_BYTES);
    return {
      write: (bytes) => writer.write(bytes),
      async read() {
        const { value, done } = await reader.read(buffer);
        if (value !== undefined) buffer = new Uint8Array(value.buffer); // It lends its memory.
        return done ? 0 : value!.length;
      },
    };
  };
  return {
    // deno-lint-ignore require-await -- one interface for all
    async listen(hostname) {
      const endpoint = new Deno.QuicEndpoint({ hostname, port: 0 });
      const listener = endpoint.listen({ cert, key, alpnProtocols: ALPN });
      const accept = async () => {
        const connection = await listener.accept();
        const { value } = await connection.incomingBidirectionalStreams.getReader().read();
        return pipe(value!);
      };
      return { port: endpoint.addr.port, accepted: accept() };
    },
    async dial(hostname, port) {
      const connection = await Deno.connectQuic({
        hostname,
        port,
        alpnProtocols: ALPN,
        caCerts: [cert],
      });
      return pipe(await connection.createBidirectionalStream());
    },
  };
}
