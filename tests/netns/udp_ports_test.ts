/**
 * UDP ports between two network namespaces: a real wire with an MTU, both IP families, fragments
 * that are dropped, ECN marks, two tenants.
 */
import assert from "node:assert/strict";
import { toHex } from "../../lib/base/mod.ts";
import { udpNativeUnavailable } from "../../lib/io/udp_native_port.ts";
import { OVERLAY_BYTES } from "../../lib/l1_link/mod.ts";
import { type Need, testNeeding } from "../support/needs.ts";
import { ADDRESS, type Family, IP_UDP_BYTES, NAMESPACES, Wire } from "./namespaces.ts";
import { messageBytes, type SentFrame } from "./port_process.ts";
import { RemotePorts } from "./remote_ports.ts";

const VNI = 0x00abcd;
const PORT = 6477;
/** The last frame of a test: what was to arrive before it has arrived. */
const MARKER: SentFrame = { sequence: 999, length: 68 };

const NATIVE: Need = {
  name: "native UDP port (libnexus_io)",
  present: udpNativeUnavailable() === undefined,
  enable: "deno task build",
};

const families: Family[] = ["ipv4", "ipv6"];

/** Both ends of a wire with a port of the kind on each, and how to send from a to b. */
async function withPorts(
  { kind, family, mtu, dropFragments }: {
    kind: "udp" | "udp-native";
    family: Family;
    mtu: number;
    dropFragments?: boolean;
  },
  body: (ends: {
    a: RemotePorts;
    b: RemotePorts;
    exchange: (frames: SentFrame[]) => Promise<number[]>;
  }) => Promise<void>,
): Promise<void> {
  await using wire = await Wire.create({ mtu, dropFragments });
  await using a = new RemotePorts(wire, "a");
  await using b = new RemotePorts(wire, "b");
  for (const [end, side] of [[a, "a"], [b, "b"]] as const) {
    const listen = { host: ADDRESS[family][side], port: PORT };
    await end.call({ do: "open", id: "port", kind, listen, vni: VNI });
  }
  const to = { host: ADDRESS[family].b, port: PORT };
  await body({
    a,
    b,
    exchange: async (frames) => {
      await a.call({ do: "send", id: "port", to, frames: [...frames, MARKER] });
      const arrived = await b.call({ do: "receiveUntil", id: "port", sequence: MARKER.sequence });
      return arrived.map(({ length }) => length).slice(0, -1);
    },
  });
}

/** The longest frame that fits one packet. */
function frameBytesAt(mtu: number, family: Family): number {
  return mtu - IP_UDP_BYTES[family] - OVERLAY_BYTES;
}

for (const kind of ["udp", "udp-native"] as const) {
  const needs = kind === "udp" ? [NAMESPACES] : [NAMESPACES, NATIVE];
  for (const family of families) {
    for (const mtu of [1500, 9000]) {
      const on = `${kind} over ${family} at MTU ${mtu}`;
      testNeeding(
        needs,
        `NL-O-002: ${on}: frames that fill the packet arrive, longer ones not where fragments are dropped`,
        async () => {
          await withPorts({ kind, family, mtu, dropFragments: true }, async ({ a, exchange }) => {
            const full = frameBytesAt(mtu, family);
            const sent = [68, full - 1, full, full + 1, full + 100, 1200];
            const frames = sent.map((length, sequence) => ({ sequence, length }));
            assert.deepEqual(await exchange(frames), [68, full - 1, full, 1200]);
            const { txErrors } = await a.call({ do: "stats", id: "port" });
            // The native port forbids fragments, so the sender knows; the portable one cannot.
            assert.equal(txErrors, kind === "udp" ? 0 : 2);
          });
        },
      );
    }

    testNeeding(
      needs,
      `NL-F-006: ${kind} over ${family}: a handshake message arrives in frames below the MTU though IP fragments are dropped`,
      async () => {
        await withPorts({ kind, family, mtu: 1500, dropFragments: true }, async ({ a, b }) => {
          const to = { host: ADDRESS[family].b, port: PORT };
          const sent = await a.call({
            do: "sendMessage",
            id: "port",
            to,
            bytes: 9000,
            frameBytesMax: 1200,
          });
          const { hex, frames } = await b.call({ do: "receiveMessage", id: "port" });
          assert.equal(hex, toHex(messageBytes(9000)));
          assert.deepEqual([sent.frames, frames], [9, 9]);
        });
      },
    );

    testNeeding(
      needs,
      `NL-O-001: ${kind} over ${family}: two tenants on one wire do not hear each other, which is counted`,
      async () => {
        await withPorts({ kind, family, mtu: 1500 }, async ({ a, b, exchange }) => {
          const from = { host: ADDRESS[family].a, port: PORT + 1 };
          const other = { host: ADDRESS[family].b, port: PORT + 1 };
          await a.call({ do: "open", id: "other", kind, listen: from, vni: VNI + 1 });
          await b.call({ do: "open", id: "other", kind, listen: other, vni: VNI + 1 });
          const foreign = [{ sequence: 1, length: 500 }, { sequence: 2, length: 600 }];
          const to = { host: ADDRESS[family].b, port: PORT };
          await a.call({ do: "send", id: "other", to, frames: foreign });
          assert.deepEqual(await exchange([{ sequence: 3, length: 700 }]), [700]);
          assert.equal((await b.call({ do: "stats", id: "port" })).rxWrongVni, 2);
          // The other tenant's own traffic flows.
          await a.call({ do: "send", id: "other", to: other, frames: foreign });
          const arrived = await b.call({ do: "receiveUntil", id: "other", sequence: 2 });
          assert.deepEqual(arrived.map(({ length }) => length), [500, 600]);
        });
      },
    );
  }
}

for (const family of families) {
  testNeeding(
    [NAMESPACES],
    `NL-O-002: udp over ${family}: where fragments pass, a frame longer than the MTU does too`,
    async () => {
      // The other side of the tests above: what is dropped there are fragments, not long frames.
      await withPorts({ kind: "udp", family, mtu: 1500 }, async ({ exchange }) => {
        assert.deepEqual(await exchange([{ sequence: 1, length: 3000 }]), [3000]);
      });
    },
  );

  testNeeding(
    [NAMESPACES, NATIVE],
    `NL-P-003: udp-native over ${family}: ECN marks and receive times of every frame are seen`,
    async () => {
      await withPorts({ kind: "udp-native", family, mtu: 1500 }, async ({ a, b }) => {
        const to = { host: ADDRESS[family].b, port: PORT };
        const marks = [0, 1, 2, 3, 2, 2, 2, 0];
        const frames = marks.map((ecn, sequence) => ({ sequence, length: 1000, ecn }));
        await a.call({ do: "send", id: "port", to, frames });
        const arrived = await b.call({
          do: "receiveUntil",
          id: "port",
          sequence: marks.length - 1,
        });
        assert.deepEqual(arrived.map(({ ecn }) => ecn), marks);
        assert(arrived.every(({ timed }) => timed), "a frame without receive time");
      });
    },
  );
}

testNeeding([NAMESPACES], "a wire is gone when its block ends, even by an error", async () => {
  const before = await namespaces();
  await assert.rejects(async () => {
    await using _wire = await Wire.create({ mtu: 1500 });
    assert.equal((await namespaces()).length, before.length + 2);
    throw new Error("the test failed");
  }, /the test failed/);
  await assert.rejects(Wire.create({ mtu: 1 }), /mtu/);
  assert.deepEqual(await namespaces(), before);
});

/** Names of our namespaces. */
async function namespaces(): Promise<string[]> {
  const { stdout } = await new Deno.Command("ip", { args: ["netns", "list"] }).output();
  return new TextDecoder().decode(stdout).split("\n").filter((line) =>
    line.startsWith(`nx${Deno.pid}-`)
  );
}
