import assert from "node:assert/strict";
import { NexusError } from "../../lib/base/mod.ts";
import { InferenceError, isUnreachable } from "../../lib/sdk/mod.ts";

Deno.test("sdk: silence of a node is told from what it said, through the chain of causes", () => {
  const silent = new NexusError("PEER_UNRESPONSIVE", "connection lost");
  assert.ok(isUnreachable(silent));
  assert.ok(isUnreachable(InferenceError.from(silent)));
  assert.ok(!isUnreachable(new NexusError("CONSTRAINT_NOT_MET", "no")));
  assert.ok(!isUnreachable(new InferenceError("INTERNAL_ERROR", "upstream said 500")));
  assert.ok(!isUnreachable("text"));
});

Deno.test("sdk: an error of a handshake counts as a fault of trust, others as faults of the node", () => {
  const trust = InferenceError.from(new NexusError("UNKNOWN_CA", "no"));
  assert.equal(trust.code, "TRUST_FAILURE");
  assert.ok(trust.retryable && trust.isNodeFault);
  const other = InferenceError.from(new Error("boom"));
  assert.equal(other.code, "INTERNAL_ERROR");
  const request = new InferenceError("INVALID_REQUEST", "no", { param: "model" });
  assert.ok(!request.isNodeFault && !request.retryable);
  assert.equal(InferenceError.from(request), request);
});

Deno.test("sdk: the member at fault survives the way over the wire", () => {
  const sent = new InferenceError("INVALID_REQUEST", "bad", { param: "temperature" });
  const { message, detailJson } = sent;
  assert.equal(new InferenceError("INVALID_REQUEST", message, { detailJson }).param, "temperature");
  assert.equal(new InferenceError("INVALID_REQUEST", "x", { detailJson: "{" }).param, undefined);
});
