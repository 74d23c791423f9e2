import assert from "node:assert/strict";
import { type BreakerState, CircuitBreakers } from "../../lib/l2_route/mod.ts";
import { BREAKERS_MAX } from "../../lib/l2_route/breaker.ts";
import { nodeId } from "./helpers.ts";

type Step = [at: number, what: "fail" | "ok" | "try" | "-", state: BreakerState, allows: boolean];

function run(steps: readonly Step[]): void {
  const breakers = new CircuitBreakers({ failuresMax: 2, cooldownUs: 100, probeTimeoutUs: 50 });
  for (const [at, what, state, allows] of steps) {
    if (what === "fail") breakers.failure("n", at);
    else if (what === "ok") breakers.success("n");
    else if (what === "try") breakers.attempt("n", at);
    assert.deepEqual([breakers.state("n", at), breakers.allows("n", at)], [state, allows], `${at}`);
    assert.equal(breakers.allows("other", at), true);
  }
}

Deno.test("NR-F-006: failures in a row open the breaker, a success between them does not", () => {
  run([
    [0, "-", "closed", true],
    [1, "fail", "closed", true],
    [2, "ok", "closed", true],
    [3, "fail", "closed", true],
    [4, "fail", "open", false],
    [103, "-", "open", false],
    [104, "-", "half-open", true],
  ]);
});

Deno.test("NR-F-006: a half-open breaker lets one probe through; its success closes it", () => {
  run([
    [0, "fail", "closed", true],
    [0, "fail", "open", false],
    [100, "try", "half-open", false],
    [110, "ok", "closed", true],
    [111, "fail", "closed", true],
  ]);
});

Deno.test("NR-F-006: a failed probe opens the breaker for another cooldown", () => {
  run([
    [0, "fail", "closed", true],
    [0, "fail", "open", false],
    [100, "try", "half-open", false],
    [120, "fail", "open", false],
    [219, "-", "open", false],
    [220, "-", "half-open", true],
  ]);
});

Deno.test("NR-F-006: a probe that never reports gives way to another", () => {
  run([
    [0, "fail", "closed", true],
    [0, "fail", "open", false],
    [100, "try", "half-open", false],
    [149, "-", "half-open", false],
    [150, "-", "half-open", true],
    [150, "try", "half-open", false],
  ]);
});

Deno.test("NR-F-006: late failures of an open breaker do not put the probe off", () => {
  run([
    [0, "fail", "closed", true],
    [0, "fail", "open", false],
    [90, "fail", "open", false],
    [100, "-", "half-open", true],
  ]);
});

Deno.test("NR-F-006: breakers of more nodes than the limit forget the oldest history", () => {
  const breakers = new CircuitBreakers({ failuresMax: 1 });
  for (let n = 0; n <= BREAKERS_MAX; n++) breakers.failure(nodeId(n), 0);
  assert.equal(breakers.state(nodeId(0), 0), "closed");
  assert.equal(breakers.state(nodeId(1), 0), "open");
  breakers.forget(nodeId(1));
  assert.equal(breakers.state(nodeId(1), 0), "closed");
});
