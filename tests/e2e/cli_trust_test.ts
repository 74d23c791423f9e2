/** `nexus trust` without any node: keys, an authority and certificates as files. */
import assert from "node:assert/strict";
import { cli, cliFails, cliJson, type CliOptions, runCli } from "./cli.ts";
import { e2e } from "./harness.ts";

/** The first line of PKCS #8 in PEM (RFC 7468 §10). */
const PEM = /^-----BEGIN PRIVATE [K]EY-----\n/;

e2e("an authority kept offline: key, request, certificate, check", async (stage, t) => {
  const here: CliOptions = { cwd: stage.dir };
  const trust = (...words: string[]) => cliJson(["trust", ...words], here);
  const path = (name: string) => `${stage.dir}/${name}`;
  let root = "";
  let nodeId = "";

  await t.step("keys generate: a file for its owner only, never written over", async () => {
    const key = await trust("keys", "generate", "--out", "node.key");
    assert.match(key.nodeId, /^[0-9a-f]{32}$/);
    assert.equal(key.file, "node.key");
    assert.equal(key.privateKey, undefined);
    const pem = Deno.readTextFileSync(path("node.key"));
    assert.match(pem, PEM);
    assert.equal(modeOf(path("node.key")), 0o600);
    assert.match(
      await cliFails(1, ["trust", "keys", "generate", "--out", "node.key"], here),
      /exists/,
    );
    assert.equal(Deno.readTextFileSync(path("node.key")), pem);
    assert.match(await cli(["trust", "keys", "generate"], here), PEM);
    nodeId = key.nodeId;
  });
  await t.step("ca init: a root of its own directory", async () => {
    const { directory, certificate } = await trust("ca", "init", "--out", "ca", "--vni", "7");
    assert.equal(directory, "ca");
    assert.deepEqual([certificate.role, certificate.vni], ["ca", 7]);
    assert.equal(certificate.nodeId, certificate.issuerNodeId);
    assert.deepEqual([modeOf(path("ca")), modeOf(path("ca/ca.key"))], [0o700, 0o600]);
    root = certificate.fingerprint;
  });
  await t.step("csr create: a request of the key", async () => {
    const words = ["--capabilities", "code_gen+tool_use", "--context", "32k", "--model", "m-1"];
    const csr = await trust("csr", "create", "--key", "node.key", ...words, "--out", "node.csr");
    assert.equal(csr.nodeId, nodeId);
    assert.match(Deno.readTextFileSync(path("node.csr")), /BEGIN NEXUS CERTIFICATE REQUEST/);
  });
  await t.step("ca issue: a chain with the request's claims for the time asked", async () => {
    const words = ["--ca", "ca", "--csr", "node.csr", "--life", "2d", "--out", "node.mic"];
    const { chain } = await trust("ca", "issue", ...words);
    const [leaf, ca] = chain;
    assert.deepEqual(
      [leaf.nodeId, leaf.role, leaf.vni, leaf.context, leaf.models],
      [nodeId, "node", 7, 32_768, ["m-1"]],
    );
    assert.deepEqual(leaf.capabilities.toSorted(), ["code_gen", "tool_use"]);
    assert.ok(Math.abs(leaf.notAfterS - Date.now() / 1000 - 2 * 86_400) < 600);
    assert.deepEqual([leaf.issuerNodeId, ca.fingerprint], [ca.nodeId, root]);
    const issued = `${path("ca/issued")}/${leaf.serial}.mic`;
    assert.equal(Deno.readTextFileSync(issued), Deno.readTextFileSync(path("node.mic")));
  });
  await t.step("mic show FILE: the same certificate, and its root checked", async () => {
    const { chain, check } = await trust("mic", "show", "node.mic", "--root", root);
    assert.deepEqual([chain.length, chain[0].nodeId], [2, nodeId]);
    assert.deepEqual(check, { valid: true, root });
    const table = await cli(["trust", "mic", "show", "node.mic"], here);
    assert.match(table, new RegExp(`^leaf\n {2}node id +${nodeId}\n`));
    assert.match(table, new RegExp(`\nroot\n(?:.*\n)* {2}fingerprint +${root}\n`));
  });
  await t.step(
    "mic show: another root, a changed byte and no certificate are exit code 1",
    async () => {
      const other = ["trust", "mic", "show", "node.mic", "--root", "0".repeat(64)];
      assert.match((await failing(other)).stderr, /^nexus: .*root/m);
      const pem = Deno.readTextFileSync(path("node.mic"));
      Deno.writeTextFileSync(path("bad.mic"), withChangedByte(pem));
      await failing(["trust", "mic", "show", "bad.mic"]);
      Deno.writeTextFileSync(path("none.mic"), "no certificate\n");
      assert.match((await failing(["trust", "mic", "show", "none.mic"])).stderr, /holds none/);
      await cliFails(3, ["trust", "mic", "show", "missing.mic"], here);
    },
  );

  async function failing(args: string[]) {
    const result = await runCli(args, here);
    assert.equal(result.code, 1, `${args.join(" ")}: ${result.stderr}`);
    return result;
  }
});

function modeOf(file: string): number {
  return Deno.statSync(file).mode! & 0o777;
}

/** One bit in the signature, the last bytes of the first block. */
function withChangedByte(pem: string): string {
  const [, body] = /-----BEGIN NEXUS CERTIFICATE-----([^-]*)-----END/.exec(pem)!;
  const bytes = Uint8Array.from(atob(body.replace(/\s/g, "")), (char) => char.charCodeAt(0));
  bytes[bytes.length - 1] ^= 1;
  const changed = btoa(String.fromCharCode(...bytes));
  return pem.replace(body, `\n${changed}\n`);
}
