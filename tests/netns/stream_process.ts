/**
 * One end of a connection over the native port, on one side of a wire: `serve HOST PORT` echoes,
 * `dial HOST PORT FRAME_BYTES` exchanges data until frames have grown to that size (or long enough)
 * and prints what it learned about the path as one line of JSON.
 */
import assert from "node:assert/strict";
import { benchAuthority } from "../../bench/mesh.ts";
import { randomFill, systemClock } from "../../lib/io/clock.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { openUdpNativePort } from "../../lib/io/udp_native_port.ts";
import { Pool, SLOT_BYTES } from "../../lib/l1_link/mod.ts";
import { MODE_RELIABLE_ORDERED } from "../../lib/l3_stream/mod.ts";
import { createCsr, Identity } from "../../lib/l4_trust/mod.ts";
import { type Channel, Driver, type Session } from "../../lib/sdk/mod.ts";

const VNI = 7;
const EXCHANGES_MAX = 500;
const EXCHANGE_BYTES = 100_000;

/** What the dialing end prints. */
export interface Learned {
  readonly frameBytes: number;
  readonly isEcnCapable: boolean;
  readonly packetsLost: number;
}

async function driver(host: string, port: number): Promise<Driver> {
  const authority = benchAuthority();
  const identity = Identity.generate(randomFill, nodeEngine);
  const unixS = Math.floor(systemClock.unixMs() / 1000);
  const mic = authority.issue(createCsr(identity), { unixS, vni: VNI, role: "node" });
  const pool = new Pool({ slotBytes: SLOT_BYTES.large, slots: 512 });
  return new Driver({
    port: await openUdpNativePort({ listen: { host, port }, vni: VNI, pool }),
    clock: systemClock,
    random: randomFill,
    engine: nodeEngine,
    identity,
    vni: VNI,
    chain: authority.chainOf(mic),
    roots: [authority.fingerprint],
    onSession: (session) => {
      // Echoes until the other end leaves, which may be in the middle.
      session.onChannel = (channel) => echo(channel).catch(() => {});
    },
  });
}

async function echo(channel: Channel): Promise<void> {
  for (let bytes = await channel.receiveBytes(); bytes; bytes = await channel.receiveBytes()) {
    await channel.sendBytes(bytes);
  }
  channel.finish();
}

/** Sends and gets back until frames are `frameBytes` long or the search must be over. */
async function exchange(session: Session, frameBytes: number): Promise<Learned> {
  const channel = session.open(MODE_RELIABLE_ORDERED);
  const sent = new Uint8Array(EXCHANGE_BYTES).map((_, i) => i * 31 >> 2);
  for (let i = 0; i < EXCHANGES_MAX; i++) {
    await channel.sendBytes(sent);
    for (let at = 0; at < sent.length;) {
      const bytes = (await channel.receiveBytes())!;
      assert.deepEqual(bytes, sent.subarray(at, at + bytes.length));
      at += bytes.length;
    }
    const stats = session.connection!.stats();
    if (stats.frameBytes >= frameBytes && stats.isEcnCapable) break;
  }
  channel.finish();
  return session.connection!.stats();
}

if (import.meta.main) {
  const [role, host, port, frameBytes] = Deno.args;
  if (role === "serve") {
    await driver(host, Number(port));
    console.log("ready");
  } else {
    const own = await driver(host.includes(":") ? "::" : "0.0.0.0", 0);
    const session = await own.dial({ host, port: Number(port) });
    const { frameBytes: found, isEcnCapable, packetsLost } = await exchange(
      session,
      Number(frameBytes),
    );
    console.log(JSON.stringify({ frameBytes: found, isEcnCapable, packetsLost }));
    await own.close();
  }
}
