/** Run by providers_test.ts with --expose-gc: nothing that cancels may be held weakly. */
import { encodeSad } from "../../lib/l2_route/mod.ts";
import { inferenceRequest } from "../../lib/l5_api/mod.ts";
import { OpenAiProvider } from "../../lib/node/providers/mod.ts";
import { FakeUpstream, ManualSleep, until } from "./bridge_helpers.ts";

const { gc } = globalThis as unknown as { gc(): void };

/** Weak references are strong until the end of a turn. */
async function collect(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    gc();
  }
}

const upstream = new FakeUpstream(() => new Promise<Response>(() => {}));
const clock = new ManualSleep();
const provider = new OpenAiProvider({ baseUrl: upstream.baseUrl, sleep: clock.sleep });
await provider.start();
const leave = new AbortController();
let code = "";
(async () => {
  const request = inferenceRequest({
    model: encodeSad({}),
    messages: [{ role: "user", parts: [{ type: "text", text: "x" }] }],
    stream: true,
  });
  for await (const _ of provider.generate(request, leave.signal));
})().catch((error) => code = error.code);
await until(() => upstream.calls.length === 1);
await collect();
leave.abort();
await until(() => code === "CANCELLED");
let closed = false;
upstream.calls[0].left.then(() => closed = true);
await until(() => closed);
await collect();
let stopped = false;
provider.stop().then(() => stopped = true);
await until(() => stopped);
console.log("aborted, closed, stopped");
Deno.exit(0);
