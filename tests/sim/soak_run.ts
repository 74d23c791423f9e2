/** Many seeds of the soak on two Workers, with progress and a summary. */
import type { SeedRange, SeedReport } from "./soak_worker.ts";

const WORKERS = 2;
const SEEDS_A_RANGE = 20;
/** Failures after which the run stops: more of them seldom tell more. */
const FAILURES_MAX = 5;
const PROGRESS_MS = 5_000;

/** Runs the seeds; prints failures with seed, trace and replay line; whether there were none. */
export async function runSoak(from: number, count: number): Promise<boolean> {
  const until = from + count;
  const startMs = performance.now();
  const total = {
    streams: 0,
    bytes: 0,
    packets: 0,
    lost: 0,
    migrations: 0,
    pathsUsed: 0,
    events: 0,
    virtualUs: 0,
  };
  let next = from;
  let done = 0;
  let failures = 0;
  let toldMs = startMs;

  function takeIn({ seed, result, error }: SeedReport): void {
    done++;
    if (error !== undefined) {
      failures++;
      console.error(`seed ${seed} FAILED\n${error}\n`);
    }
    if (result !== undefined) {
      for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += result[key];
    }
    const nowMs = performance.now();
    if (nowMs - toldMs < PROGRESS_MS) return;
    toldMs = nowMs;
    const rate = Math.round(done * 1_000 / (nowMs - startMs));
    console.error(`${done} of ${count} seeds, ${rate} a second, ${failures} failed`);
  }

  function runWorker(): Promise<void> {
    const worker = new Worker(new URL("./soak_worker.ts", import.meta.url), { type: "module" });
    return new Promise<void>((resolve, reject) => {
      const more = () => {
        if (next >= until || failures >= FAILURES_MAX) return resolve();
        const range: SeedRange = { from: next, until: Math.min(until, next + SEEDS_A_RANGE) };
        next = range.until;
        worker.postMessage(range);
      };
      worker.onmessage = ({ data }: MessageEvent<SeedReport>) => {
        takeIn(data);
        if (data.isLast) more();
      };
      worker.onerror = reject;
      more();
    }).finally(() => worker.terminate());
  }

  await Promise.all(Array.from({ length: WORKERS }, runWorker));
  const seconds = (performance.now() - startMs) / 1_000;
  console.log(
    `${done} seeds (${from}…${from + done - 1}) in ${seconds.toFixed(1)} s, ${failures} failed; ` +
      `${total.streams} streams, ${(total.bytes / 1e6).toFixed(0)} MB, ${total.packets} packets, ` +
      `${total.lost} of them lost or damaged, ${total.migrations} migrations, ` +
      `${total.pathsUsed} ends of further paths, ${
        (total.virtualUs / 3.6e9).toFixed(0)
      } virtual hours`,
  );
  return failures === 0;
}
