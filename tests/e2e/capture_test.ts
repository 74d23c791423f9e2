/** What somebody on the wire between two nodes can read: who talks to whom, and nothing else. */
import assert from "node:assert/strict";
import { randomFill } from "../../lib/io/clock.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { decodeInvite, decodeMic } from "../../lib/l4_trust/mod.ts";
import { fromHex, toHex, utf8 } from "../../lib/base/mod.ts";
import { FakeUpstream } from "./fake_upstream.ts";
import { e2e } from "./harness.ts";
import { UdpRelay } from "./udp_relay.ts";

/** A secret is cut in pieces of this size, so that one cut by a frame's end is found, too. */
const PIECE_BYTES = 10;
/** Names of nodes and organisations, model names: what a certificate says in clear text. */
const MODEL = "zeppelin-secret-model-0815";

/** Places where any piece of the secret stands in the datagrams: as it is, in hex, in base64. */
function findings(datagrams: readonly Uint8Array[], secret: Uint8Array): string[] {
  const found: string[] = [];
  const forms = pieces(secret).flatMap((piece) => [
    { how: "as it is", bytes: piece },
    { how: "in hex", bytes: utf8(toHex(piece)) },
    { how: "in HEX", bytes: utf8(toHex(piece).toUpperCase()) },
    // Whatever the alignment, one of three begins at a boundary of three bytes.
    ...[0, 1, 2].flatMap((skip) => {
      const text = btoa(String.fromCharCode(...piece.subarray(skip)));
      // The last characters depend on what follows.
      const sure = text.replace(/=+$/, "").slice(0, -1);
      return [
        { how: "in base64", bytes: utf8(sure) },
        { how: "in base64url", bytes: utf8(sure.replaceAll("+", "-").replaceAll("/", "_")) },
      ];
    }),
  ]);
  for (const [i, datagram] of datagrams.entries()) {
    const text = latin1(datagram);
    for (const { how, bytes } of forms) {
      const at = text.indexOf(latin1(bytes));
      if (at >= 0) found.push(`datagram ${i}, byte ${at}: ${how}`);
    }
  }
  return found;
}

function pieces(secret: Uint8Array): Uint8Array[] {
  if (secret.length <= PIECE_BYTES) return [secret];
  const count = Math.floor(secret.length / PIECE_BYTES);
  return Array.from(
    { length: count },
    (_, i) => secret.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES),
  );
}

/** One character a byte: indexOf of strings is fast. */
function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}

function randomText(): string {
  const bytes = new Uint8Array(48);
  randomFill(bytes);
  return toHex(bytes);
}

Deno.test("the search for secrets in datagrams finds them in every form and place", () => {
  const secret = utf8("the quick brown fox jumps over the lazy dog");
  const base64 = (shift: string) => utf8(btoa(shift + "the quick brown fox jumps over it"));
  const hiding = [
    secret.subarray(7, 30),
    utf8(`xx${toHex(secret)}`),
    utf8(toHex(secret).toUpperCase()),
    base64(""),
    base64("x"),
    base64("xy"),
  ];
  for (const [i, datagram] of hiding.entries()) {
    assert.notDeepEqual(findings([new Uint8Array(9), datagram], secret), [], `hiding place ${i}`);
  }
  assert.deepEqual(findings([utf8("an innocent datagram of some length")], secret), []);
});

e2e("datagrams between two nodes show neither content nor certificates", async (stage, t) => {
  const prompt = `prompt ${randomText()}`;
  const answer = Array.from({ length: 40 }, () => `${randomText()} `);
  const upstream = new FakeUpstream([MODEL]);
  stage.onClear(() => upstream.close());
  upstream.script = () => ({ tokens: answer });
  const relay = new UdpRelay();
  stage.onClear(() => relay.close());

  const answering = await stage.start("answering", {
    link: { advertise: [relay.address] },
    providers: [upstream.provider()],
  });
  relay.setTarget(answering.ready.link[0]);
  const asking = await stage.start("asking", {
    mesh: { join: answering.invite },
    providers: [{
      type: "embedded",
      models: [{ name: "graf-secret-model-4711", capabilities: ["text_gen"], answer: "echo" }],
    }],
  });
  await asking.knows(MODEL, "graf-secret-model-4711");
  await answering.knows(MODEL, "graf-secret-model-4711");

  const request = { messages: [{ role: "user" as const, content: prompt }] };
  const there = await asking.openai().chat.completions.create({ model: MODEL, ...request });
  assert.equal(there.choices[0].message.content, answer.join(""));
  const stream = await asking.openai().chat.completions
    .create({ model: MODEL, ...request, stream: true });
  let streamed = "";
  for await (const chunk of stream) streamed += chunk.choices[0]?.delta.content ?? "";
  assert.equal(streamed, answer.join(""));
  const back = await answering.openai().chat.completions
    .create({ model: "graf-secret-model-4711", ...request });
  assert.equal(back.choices[0].message.content, prompt);
  const { datagrams } = relay;

  await t.step("the relay carried all of it, and node ids are found in clear", () => {
    assert.ok(datagrams.length > 30 && relay.bytes > 20_000, `${datagrams.length}, ${relay.bytes}`);
    for (const node of [answering, asking]) {
      const id = latin1(fromHex(node.nodeId));
      assert.ok(datagrams.filter((datagram) => latin1(datagram).includes(id)).length > 20);
    }
  });
  await t.step("no prompt, answer or model name", () => {
    for (const secret of [prompt, ...answer, MODEL, "graf-secret-model-4711", "hat.completion"]) {
      assert.deepEqual(findings(datagrams, utf8(secret)), [], secret);
    }
  });
  await t.step(
    "no certificate: neither its encoding nor its public keys, serials, signatures",
    async () => {
      // "MIC", version 1; "NXAD", "CSR": a shorter form could stand there by chance.
      for (const header of ["MIC\0\x01", "CSR\0\x01", "NXAD\0\x01"]) {
        assert.deepEqual(
          datagrams.flatMap((datagram, i) => latin1(datagram).includes(header) ? [i] : []),
          [],
          header,
        );
      }
      for (const node of [answering, asking]) {
        const { encoded } = await node.adminJson("/api/v1/trust/mic") as { encoded: string[] };
        assert.equal(encoded.length, 2);
        for (const text of encoded) {
          const bytes = Uint8Array.from(
            atob(text.replaceAll("-", "+").replaceAll("_", "/")),
            (c) => c.charCodeAt(0),
          );
          const mic = decodeMic(bytes, nodeEngine);
          assert.equal(latin1(bytes).slice(0, 5), "MIC\0\x01");
          for (const secret of [mic.publicKey, mic.serial, bytes.subarray(-64)]) {
            assert.deepEqual(findings(datagrams, secret), []);
          }
        }
      }
    },
  );
  await t.step("no invite secret", () => {
    const { secret } = decodeInvite(answering.invite, nodeEngine);
    assert.equal(secret.length, 32);
    assert.deepEqual(findings(datagrams, secret), []);
    assert.deepEqual(findings(datagrams, utf8(answering.invite)), []);
  });
});
