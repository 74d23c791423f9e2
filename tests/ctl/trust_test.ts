import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey } from "node:crypto";
import { toHex } from "../../lib/base/mod.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { decodeMic, verifyChain } from "../../lib/l4_trust/mod.ts";
import { readChainFile } from "../../lib/ctl/trust/certificate_files.ts";
import { decodeKey, encodeKey } from "../../lib/ctl/trust/key_file.ts";
import { decodePem, encodePem } from "../../lib/ctl/trust/pem.ts";
import { run } from "./support.ts";

/** Runs `work` in a directory of its own. */
async function inDirectory(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await work(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function json(args: string[]): Promise<Record<string, never>> {
  const { code, out, err } = await run([...args, "-o", "json"]);
  assert.equal(code, 0, err);
  return JSON.parse(out);
}

const mode = (file: string) => Deno.statSync(file).mode! & 0o777;

Deno.test("a key file is PKCS #8 PEM that other tools read (RFC 8410 §10.3)", () => {
  // The example of the RFC: private key "d4ee72db…", public key "19bf4409…".
  const label = "PRIVATE" + " KEY"; // In two parts, so that no tool takes this file for a key.
  const pem = `-----BEGIN ${label}-----\n` +
    "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n" +
    `-----END ${label}-----\n`;
  const identity = decodeKey(pem, "x");
  assert.equal(
    toHex(identity.seed),
    "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842",
  );
  assert.equal(
    toHex(identity.publicKey),
    "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1",
  );
  assert.equal(encodeKey(identity.seed), pem);
});

Deno.test("armour comes back as it went in, and text around it is ignored", () => {
  for (const length of [0, 1, 47, 48, 49, 500]) {
    const bytes = Uint8Array.from({ length }, (_, i) => i * 7);
    const text = `words before\n${encodePem("A B", bytes)}\nafter`;
    assert.deepEqual(decodePem(text, "A B"), [bytes]);
    assert.deepEqual(decodePem(text, "A"), []);
    assert.ok(encodePem("A B", bytes).split("\n").every((line) => line.length <= 64));
  }
  assert.throws(
    () => decodePem(encodePem("A", new Uint8Array(9)).replace("A", "A").replace(/AA/, "!"), "A"),
    {
      code: "MALFORMED",
    },
  );
});

Deno.test("trust keys generate writes a key for its owner only, and never over another", () =>
  inDirectory(async (dir) => {
    const file = `${dir}/node.key`;
    const made = await json(["trust", "keys", "generate", "--out", file]);
    assert.equal(mode(file), 0o600);
    const pem = Deno.readTextFileSync(file);
    const jwk = createPublicKey(createPrivateKey(pem)).export({ format: "jwk" });
    assert.equal(toHex(Uint8Array.fromBase64(jwk.x!, { alphabet: "base64url" })), made.publicKey);
    assert.equal(made.privateKey, undefined);
    const again = await run(["trust", "keys", "generate", "--out", file]);
    assert.equal(again.code, 1);
    assert.match(again.err, /it exists already\nhint: /);
    assert.equal(Deno.readTextFileSync(file), pem);
  }));

Deno.test("trust keys generate without a file prints the key alone", async () => {
  const { code, out } = await run(["trust", "keys", "generate"]);
  assert.equal(code, 0);
  decodeKey(out, "stdout");
});

Deno.test("a request is turned into a chain that verifies, from files alone", () =>
  inDirectory(async (dir) => {
    const ca = await json(["trust", "ca", "init", "--out", `${dir}/ca`, "--vni", "7"]) as never as {
      certificate: { fingerprint: string };
    };
    assert.equal(mode(`${dir}/ca`), 0o700);
    assert.equal(mode(`${dir}/ca/ca.key`), 0o600);
    const key = await json(["trust", "keys", "generate", "--out", `${dir}/n.key`]);
    await json([
      ..."trust csr create --capabilities code_gen+tool_use --context 32k --model m --region DE"
        .split(" "),
      ...["--key", `${dir}/n.key`, "--out", `${dir}/n.csr`],
    ]);
    const issue = ["trust", "ca", "issue", "--ca", `${dir}/ca`, "--csr", `${dir}/n.csr`];
    await json([...issue, "--life", "10d", "--out", `${dir}/n.mic`]);

    const verified = verifyChain(readChainFile(`${dir}/n.mic`), {
      roots: [Uint8Array.fromHex(ca.certificate.fingerprint)],
      unixS: Math.floor(Date.now() / 1000),
      vni: 7,
      engine: nodeEngine,
    });
    assert.equal(toHex(verified.nodeId), key.nodeId);
    assert.equal(verified.role, "node");
    assert.equal(verified.leaf.claims.contextWindow, 32_768);
    assert.deepEqual(verified.leaf.claims.modelNames, ["m"]);
    const issued = [...Deno.readDirSync(`${dir}/ca/issued`)].map((entry) => entry.name);
    assert.deepEqual(issued, [`${toHex(verified.leaf.serial)}.mic`]);

    const show = ["trust", "mic", "show", `${dir}/n.mic`];
    const shown = await run([...show, "--root", ca.certificate.fingerprint]);
    assert.equal(shown.code, 0);
    assert.match(shown.out, /capabilities {2}code_gen\+tool_use\n/);
    assert.match(shown.err, /signatures, dates and root are right/);
    const other = await run([...show, "--root", "00".repeat(32), "-o", "json"]);
    assert.equal(other.code, 1);
    assert.deepEqual(JSON.parse(other.out).check.error, "UNKNOWN_CA");
  }));

Deno.test("what is granted stays inside of what the authority allows", () =>
  inDirectory(async (dir) => {
    await json([
      "trust",
      "ca",
      "init",
      "--out",
      `${dir}/ca`,
      "--vni",
      "7",
      "--capabilities",
      "text_gen",
    ]);
    await json(["trust", "keys", "generate", "--out", `${dir}/n.key`]);
    const csr = ["trust", "csr", "create", "--key", `${dir}/n.key`];
    await json([...csr, "--capabilities", "code_gen", "--out", `${dir}/n.csr`]);
    const issue = ["trust", "ca", "issue", "--ca", `${dir}/ca`, "--csr"];
    const refused = await run([...issue, `${dir}/n.csr`]);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /capabilities are/);
    await json([...csr, "--out", `${dir}/plain.csr`]);
    assert.match((await run([...issue, `${dir}/plain.csr`, "--vni", "8"])).err, /tenant is 8/);
  }));

Deno.test("a certificate for a bare public key carries the claims of the flags", () =>
  inDirectory(async (dir) => {
    await json(["trust", "ca", "init", "--out", `${dir}/ca`]);
    const { publicKey } = await json(["trust", "keys", "generate"]);
    const args = "--role client --model a --model b --capabilities vision".split(" ");
    const { code, out } = await run([
      ...["trust", "ca", "issue", "--ca", `${dir}/ca`, "--public-key", publicKey],
      ...args,
    ]);
    assert.equal(code, 0);
    const [leaf] = decodePem(out, "NEXUS CERTIFICATE");
    const mic = decodeMic(leaf, nodeEngine);
    assert.equal(mic.extensions.role, "client");
    assert.equal(mic.extensions.tenant, 0);
    assert.deepEqual(mic.claims.modelNames, ["a", "b"]);
  }));

Deno.test("mic show reads PEM, base64url and binary, and names what is wrong", () =>
  inDirectory(async (dir) => {
    const made = await json(["trust", "ca", "init", "--out", `${dir}/ca`]) as never as {
      certificate: { fingerprint: string };
    };
    const [root] = readChainFile(`${dir}/ca/ca.mic`);
    const show = async (name: string, content: Uint8Array | string) => {
      const file = `${dir}/${name}`;
      if (typeof content === "string") Deno.writeTextFileSync(file, content);
      else Deno.writeFileSync(file, content);
      return await run(["trust", "mic", "show", file, "-o", "name"]);
    };
    const binary = await show("root.bin", root);
    assert.equal(binary.code, 0);
    const text = root.toBase64({ alphabet: "base64url", omitPadding: true });
    assert.equal((await show("root.txt", text + "\n")).out, binary.out);
    assert.equal(
      (await run(["trust", "mic", "show", `${dir}/ca/ca.mic`, "-o", "name"])).out,
      binary.out,
    );

    const forged = root.slice();
    forged[forged.length - 1] ^= 1;
    const bad = await show("forged.bin", forged);
    assert.equal(bad.code, 1);
    assert.match(bad.err, /signature/);
    assert.match((await show("junk", "not a certificate!")).err, /it holds none\nhint: /);
    assert.equal((await run(["trust", "mic", "show", `${dir}/none`])).code, 3);
    const mine = ["trust", "mic", "show", `${dir}/ca/ca.mic`, "--root"];
    assert.equal((await run([...mine, made.certificate.fingerprint.toUpperCase()])).code, 0);
    assert.equal((await run([...mine, "00".repeat(32)])).code, 1);
  }));

Deno.test("mistakes on the command line of trust are usage mistakes", () =>
  inDirectory(async (dir) => {
    await json(["trust", "ca", "init", "--out", `${dir}/ca`]);
    await json(["trust", "keys", "generate", "--out", `${dir}/n.key`]);
    const issue = ["trust", "ca", "issue", "--ca", `${dir}/ca`];
    const csr = ["trust", "csr", "create", "--key", `${dir}/n.key`];
    for (
      const args of [
        issue,
        [...issue, "--csr", "a", "--public-key", "b"],
        [...issue, "--csr", "a", "--context", "1k"],
        [...issue, "--public-key", "abc"],
        [...issue, "--public-key", "00".repeat(32), "--role", "king"],
        [...csr, "--capabilities", "flying"],
        [...csr, "--context", "1k,cap=vision"],
        [...csr, "--region", "Atlantis"],
        ["trust", "ca", "init"],
        ["trust", "ca", "init", "--out", `${dir}/x`, "--path-length", "3"],
        ["trust", "mic", "show", "--root", "00"],
      ]
    ) assert.equal((await run(args)).code, 2, args.join(" "));
    const again = await run(["trust", "ca", "init", "--out", `${dir}/ca`]);
    assert.match(again.err, /it is not empty/);
    assert.equal((await run([...issue, "--csr", `${dir}/none`])).code, 3);
    assert.equal((await run([...issue, "--csr", `${dir}/n.key`])).code, 1);
  }));
