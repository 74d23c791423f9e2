/** What connections find out about a real path between two namespaces: its MTU, and ECN. */
import assert from "node:assert/strict";
import { udpNativeUnavailable } from "../../lib/io/udp_native_port.ts";
import { OVERLAY_BYTES } from "../../lib/l1_link/mod.ts";
import { type Need, testNeeding } from "../support/needs.ts";
import { ADDRESS, type Family, IP_UDP_BYTES, NAMESPACES, type Side, Wire } from "./namespaces.ts";
import type { Learned } from "./stream_process.ts";

const PROCESS = new URL("./stream_process.ts", import.meta.url).pathname;
const PORT = 6477;
/** Largest frame of the native port: the longest UDP payload over IPv4. */
const PORT_FRAME_BYTES = 65_499;

const NATIVE: Need = {
  name: "native UDP port (libnexus_io)",
  present: udpNativeUnavailable() === undefined,
  enable: "deno task build",
};

function start(wire: Wire, side: Side, ...args: string[]): Deno.ChildProcess {
  return wire.command(side, Deno.execPath(), {
    args: [
      "run",
      "--no-check",
      "--allow-net",
      "--allow-ffi",
      "--allow-read",
      "--allow-env",
      PROCESS,
      ...args,
    ],
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** What a client on side a learns about the way to a server on side b. */
async function learn(mtu: number, family: Family, frameBytes: number): Promise<Learned> {
  await using wire = await Wire.create({ mtu, dropFragments: true });
  const host = ADDRESS[family].b;
  const server = start(wire, "b", "serve", host, `${PORT}`);
  try {
    const lines = server.stdout.getReader();
    assert.match(new TextDecoder().decode((await lines.read()).value), /ready/);
    lines.releaseLock();
    const client = start(wire, "a", "dial", host, `${PORT}`, `${frameBytes}`);
    const { stdout, stderr, code } = await client.output();
    assert.equal(
      code,
      0,
      `${new TextDecoder().decode(stdout)} ${new TextDecoder().decode(stderr)}`,
    );
    return JSON.parse(new TextDecoder().decode(stdout));
  } finally {
    server.kill();
    await Promise.all([server.stdout.cancel(), server.stderr.cancel(), server.status]);
  }
}

for (const family of ["ipv4", "ipv6"] as const) {
  for (const mtu of [1_500, 9_000, 65_535]) {
    testNeeding(
      [NAMESPACES, NATIVE],
      `NL-O-002: connections over ${family} at MTU ${mtu} fill the packet, with ECN, and lose nothing`,
      async () => {
        const full = Math.min(mtu - IP_UDP_BYTES[family] - OVERLAY_BYTES, PORT_FRAME_BYTES);
        const learned = await learn(mtu, family, full);
        const gap = full - learned.frameBytes;
        // IPv6 at 65,535 is no common size: the search ends within a sixteenth.
        assert.ok(gap >= 0 && gap <= (full > 60_000 ? full / 16 : 0), `${learned.frameBytes}`);
        assert.ok(learned.isEcnCapable);
        assert.equal(learned.packetsLost, 0);
      },
    );
  }
}
