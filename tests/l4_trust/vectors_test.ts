/** tests/vectors/trust.json against the code, in both directions and with both engines. */
import assert from "node:assert/strict";
import { fromHex, toHex } from "../../lib/base/mod.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { decodeFrame, FrameError, FrameInfo } from "../../lib/l1_link/mod.ts";
import {
  ALERT,
  decodeChain,
  decodeInvite,
  nobleEngine,
  RecordProtection,
  verifyChain,
  verifyCsr,
} from "../../lib/l4_trust/mod.ts";
import golden from "../vectors/trust.json" with { type: "json" };
import { trustVectors } from "./vectors.ts";

Deno.test("NT-HS-002: the golden alert says unknown_ca", () => {
  assert.equal(golden.alert.code, ALERT.unknown_ca);
});

for (const engine of [nobleEngine, nodeEngine]) {
  Deno.test(`NT-HS-001: ${engine.name} makes exactly the bytes of the golden vectors`, () => {
    const made = JSON.parse(JSON.stringify(trustVectors(engine)));
    assert.deepEqual(made, golden);
  });

  Deno.test(`NT-MIC-001: ${engine.name} verifies the golden chain, request and invite`, () => {
    const mic = verifyChain(decodeChain(fromHex(golden.chain)), {
      roots: [fromHex(golden.rootFingerprint)],
      unixS: golden.unixS,
      vni: golden.vni,
      engine,
    });
    assert.equal(toHex(mic.leaf.bytes), golden.mic.server);
    assert.equal(mic.leaf.claims.contextWindow, golden.mic.serverClaims.contextWindow);
    assert.equal(verifyCsr(fromHex(golden.csr), engine).claims.modelNames!.length, 2);
    const invite = decodeInvite(golden.invite.token, engine);
    assert.equal(toHex(invite.secret), golden.invite.content.secret);
  });

  Deno.test(`NT-ENC-001: ${engine.name} opens the golden frames with the golden keys`, () => {
    for (const { suite, trafficKeys, sealedFrame } of golden.handshakes) {
      const protection = new RecordProtection({
        engine,
        suite,
        vni: golden.vni,
        sealKey: fromHex(trafficKeys["server write key"]),
        sealIv: fromHex(trafficKeys["server write iv"]),
        openKey: fromHex(trafficKeys["client write key"]),
        openIv: fromHex(trafficKeys["client write iv"]),
      });
      const frame = fromHex(sealedFrame.frame);
      const view = new DataView(frame.buffer);
      const info = new FrameInfo();
      assert.equal(decodeFrame(frame, view, 0, frame.length, info), FrameError.OK);
      assert.equal(protection.open(frame, view, 0, info), sealedFrame.packetNumber);
      assert.equal(
        toHex(frame.subarray(info.payloadOffset, info.payloadOffset + info.payloadLength)),
        sealedFrame.payload,
      );
    }
  });
}
