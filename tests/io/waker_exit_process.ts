/**
 * A process that ends while the waker calls: a frame has come for a port that it waits for. `close`:
 * it closes its ports; `fail`: it ends by an error that nobody catches, with its ports open.
 */
import { openUdpNativePort } from "../../lib/io/udp_native_port.ts";
import { Burst } from "../../lib/l1_link/mod.ts";

/** Time for the waker thread to see the frame. It has nobody to call before this thread is done. */
const CALLED_MS = 20;

const listen = { host: "127.0.0.1", port: 0 };
const a = await openUdpNativePort({ listen, vni: 1, spinUsMax: 0 });
const b = await openUdpNativePort({ listen, vni: 1, spinUsMax: 0 });
b.wait(Infinity);
const burst = new Burst();
const slot = a.pool.alloc();
burst.push(slot, a.pool.frameOffsetOf(slot), 100, 0, a.peer(b.localAddress));
a.txBurst(burst);
for (const until = performance.now() + CALLED_MS; performance.now() < until;);
if (Deno.args[0] === "fail") throw new Error("nobody catches this");
a.close();
b.close();
