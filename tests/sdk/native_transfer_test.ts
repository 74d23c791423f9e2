/** Bulk over the native port, where what arrives is read in the place that it was opened in. */
import assert from "node:assert/strict";
import { SeededRandom } from "../../lib/base/mod.ts";
import { randomFill, systemClock } from "../../lib/io/clock.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { chooseEngine } from "../../lib/io/native_records.ts";
import { openBestPort } from "../../lib/io/open_port.ts";
import type { Port } from "../../lib/l1_link/mod.ts";
import { MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { CertificateAuthority, createCsr, Identity } from "../../lib/l4_trust/mod.ts";
import { type Channel, Driver, type Session } from "../../lib/sdk/mod.ts";
import { NATIVE_LIBRARY } from "../support/native.ts";
import { testNeeding } from "../support/needs.ts";

const VNI = 3;

/** What byte `at` of stream `stream` is. */
function byteAt(stream: number, at: number): number {
  return (at * 31 + (at >>> 8) * 7 + (at >>> 16) + stream * 13) & 0xff;
}

function fill(bytes: Uint8Array, stream: number, from: number): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = byteAt(stream, from + i);
}

/** Offset of the first wrong byte, -1: all are right. */
function firstWrong(bytes: Uint8Array, stream: number, from: number): number {
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== byteAt(stream, from + i)) return from + i;
  }
  return -1;
}

async function drivers(
  onSession: (session: Session) => void,
  wrap: (port: Port) => Port = (port) => port,
): Promise<[Driver, Driver]> {
  const unixS = Math.floor(systemClock.unixMs() / 1000);
  const authority = CertificateAuthority.root(
    Identity.generate(randomFill, nodeEngine),
    nodeEngine,
    { unixS, vni: VNI },
  );
  const open = async (serve?: (session: Session) => void) => {
    const identity = Identity.generate(randomFill, nodeEngine);
    const mic = authority.issue(createCsr(identity, {}, {}), { unixS, vni: VNI, role: "node" });
    const listen = { host: "127.0.0.1", port: 0 };
    const { port } = await openBestPort({ kind: "udp-native", listen, vni: VNI });
    const { engine, blocks } = chooseEngine();
    return new Driver({
      port: wrap(port),
      clock: systemClock,
      random: randomFill,
      engine,
      blocks,
      identity,
      vni: VNI,
      chain: authority.chainOf(mic),
      roots: [authority.fingerprint],
      onSession: serve,
    });
  };
  return [await open(), await open(onSession)];
}

type Reader = (channel: Channel, stream: number, total: number) => Promise<void>;

/** Reads at once. */
const prompt: Reader = async (channel, stream, total) => {
  for (let at = 0; at < total;) {
    const bytes = await channel.receiveBytes();
    assert(bytes !== undefined, `stream ${stream} ended at ${at}`);
    assert.equal(firstWrong(bytes, stream, at), -1);
    at += bytes.length;
  }
};

/** Leaves the event loop to others between a read and the use of what it gave. */
const slow: Reader = async (channel, stream, total) => {
  const random = new SeededRandom(stream);
  for (let at = 0; at < total;) {
    const bytes = await channel.receiveBytes();
    assert(bytes !== undefined, `stream ${stream} ended at ${at}`);
    for (let turns = random.below(4); turns > 0; turns--) {
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    assert.equal(firstWrong(bytes, stream, at), -1);
    at += bytes.length;
  }
};

for (
  const { name, readers, megabytes } of [
    { name: "a prompt reader", readers: [prompt], megabytes: 64 },
    { name: "a slow reader", readers: [slow], megabytes: 6 },
    {
      name: "prompt and slow readers side by side",
      readers: [prompt, slow, slow, prompt, slow, prompt],
      megabytes: 4,
    },
  ]
) {
  testNeeding(
    [NATIVE_LIBRARY],
    `NS-NF-007: what was read in place stays whole, ${name}`,
    async () => {
      const total = megabytes * 1_000_000 + 12_345;
      const done: Promise<void>[] = [];
      const { promise: all, resolve } = Promise.withResolvers<void>();
      const [client, server] = await drivers((session) => {
        session.onChannel = (channel) => {
          const index = done.length;
          done.push(serve(channel, index));
          if (done.length === readers.length) resolve();
        };
      });
      const serve = async (channel: Channel, index: number) => {
        await readers[index](channel, index, total);
        assert.equal(await channel.receiveBytes(), undefined);
        channel.finish();
      };
      const session = await client.dial(server.port.localAddress);
      const send = async (stream: number) => {
        const channel = session.open(MODE_RELIABLE_ORDERED);
        const piece = new Uint8Array(100_000);
        // Streams are served in the order in which their first bytes arrive.
        for (let at = 0; at < total;) {
          const part = piece.subarray(0, Math.min(piece.length, total - at));
          fill(part, stream, at);
          await channel.sendBytes(part);
          at += part.length;
        }
        channel.finish();
        assert.equal(await channel.receiveBytes(), undefined);
      };
      await Promise.all(readers.map((_, stream) => send(stream)));
      await all;
      await Promise.all(done);
      const { frameBytes } = session.connection!.stats();
      assert.equal(frameBytes, client.port.frameBytesMax, "the loopback's own MTU was found");
      await Promise.all([client.close(), server.close()]);
    },
  );
}

for (
  const { what, neverSleeps, timersWanted, answersWanted } of [
    { what: "timers and HTTP", neverSleeps: false, timersWanted: 10, answersWanted: 2 },
    // An HTTP request takes a hundred turns of the event loop, which is too long for a test here.
    {
      what: "timers, on ports that never sleep,",
      neverSleeps: true,
      timersWanted: 10,
      answersWanted: 0,
    },
  ]
) {
  testNeeding(
    [NATIVE_LIBRARY],
    `driver: ${what} get their turn while a transfer fills the loop`,
    async () => {
      /** Far more than the loop carries until then; it ends the test where nobody gets a turn. */
      const bytesMax = 1_000_000_000;
      const http = Deno.serve(
        { port: 0, hostname: "127.0.0.1", onListen() {} },
        () => new Response(),
      );
      // A port that has frames all the time never sleeps; so does this one, until the transfer is over.
      let isOver = false;
      const busy = (port: Port) =>
        new Proxy(port, {
          get(_, name) {
            if (name === "wait" && neverSleeps && !isOver) return () => Promise.resolve();
            const value = Reflect.get(port, name);
            return typeof value === "function" ? value.bind(port) : value;
          },
        });
      let answers = 0;
      const askOnce = async () => {
        await (await fetch(`http://127.0.0.1:${http.addr.port}/`)).body?.cancel();
        answers++;
      };
      const ask = async () => {
        while (!isOver) await askOnce();
      };
      await askOnce(); // the first one makes a client and a socket
      let timers = 0;
      const timer = setInterval(() => timers++, 1);
      const [client, server] = await drivers((session) => {
        session.onChannel = async (channel) => {
          while (await channel.receiveBytes() !== undefined);
          channel.finish();
        };
      }, busy);
      const session = await client.dial(server.port.localAddress);
      const channel = session.open(MODE_RELIABLE_ORDERED);
      const piece = new Uint8Array(100_000);
      const asking = ask();
      let sent = 0;
      for (timers = answers = 0; timers < timersWanted || answers < answersWanted;) {
        if (sent >= bytesMax) break;
        await channel.sendBytes(piece);
        sent += piece.length;
      }
      const seen = { timers, answers, sent };
      isOver = true;
      clearInterval(timer);
      await asking;
      channel.finish();
      assert.equal(await channel.receiveBytes(), undefined);
      await Promise.all([client.close(), server.close(), http.shutdown()]);
      assert(seen.sent > piece.length && seen.sent < bytesMax, JSON.stringify(seen));
    },
  );
}
