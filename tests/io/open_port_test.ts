import assert from "node:assert/strict";
import { openBestPort, type PortKind } from "../../lib/io/open_port.ts";
import { NATIVE_LIBRARY } from "../support/native.ts";
import { testNeeding } from "../support/needs.ts";

const options = { listen: { host: "127.0.0.1", port: 0 }, vni: 1 };

testNeeding(
  [NATIVE_LIBRARY],
  "NL-P-006: the best port is the native one where it runs",
  async () => {
    const { port, kind, reason } = await openBestPort({ ...options, kind: "auto" });
    await port.close();
    assert.equal(kind, "udp-native");
    assert.match(port.name, /^udp-native 127\.0\.0\.1:\d+$/);
    assert.match(reason, /native library/);
  },
);

Deno.test("NL-P-006: without permission for native code the portable port opens and says why", async () => {
  const program = `
    import { openBestPort } from "./lib/io/open_port.ts";
    const listen = { host: "127.0.0.1", port: 0 };
    const { port, kind, reason } = await openBestPort({ listen, vni: 1, kind: "auto" });
    await port.close();
    console.log(kind + "|" + reason);
    await openBestPort({ listen, vni: 1, kind: "udp-native" }).catch((e) => console.log(e.code));
  `;
  const root = new URL("../../", import.meta.url);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-net", "--allow-read", "--ext=ts", "-"],
    cwd: root,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(program));
  await writer.close();
  const { stdout } = await child.output();
  assert.match(
    new TextDecoder().decode(stdout),
    /^udp\|.*--allow-ffi.*\nNATIVE_UNAVAILABLE\n$/,
  );
});

Deno.test("NL-P-006: a port asked for by name is that one", async () => {
  const { port, kind, reason } = await openBestPort({ ...options, kind: "udp" });
  await port.close();
  assert.deepEqual([kind, reason], ["udp", "asked for"]);
});

Deno.test("NL-P-006: scripted faults take the portable port, and exclude the native one", async () => {
  const faults = { lossRate: 0.1, seed: 1 };
  const { port, kind, reason } = await openBestPort({ ...options, kind: "auto", faults });
  await port.close();
  assert.equal(kind, "udp");
  assert.match(reason, /faults/);
  await assert.rejects(openBestPort({ ...options, kind: "udp-native", faults }), {
    code: "NATIVE_UNAVAILABLE",
  });
});

Deno.test("NL-P-006: an unknown kind of port is a typed error", async () => {
  await assert.rejects(openBestPort({ ...options, kind: "dpdk" as PortKind }), {
    code: "UNKNOWN_PORT",
  });
});

Deno.test("NL-P-006: a host name is looked up, one that nobody knows is told in one line", async () => {
  const { port } = await openBestPort({
    ...options,
    listen: { host: "localhost", port: 0 },
    kind: "auto",
  });
  await port.close();
  await assert.rejects(
    openBestPort({ ...options, listen: { host: "no such host", port: 1 }, kind: "auto" }),
    {
      code: "LISTEN_FAILED",
      message:
        'cannot listen: udp no such host:1: "no such host" is no address, and no name that ' +
        "this machine knows",
      hint: 'expected host:port, such as "0.0.0.0:6477"',
    },
  );
});
