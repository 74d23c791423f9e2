/** A node as a child process: started, watched until it serves, and ended for certain. */
import { errorMessage, NexusError } from "../../base/mod.ts";
import type { ReadyLine } from "../handlers.ts";

/** From SIGTERM to SIGKILL: a drain without requests takes a fraction of it. */
const STOP_MS_MAX = 3_000;
/** What a child may say before it serves, and how much of its errors is kept. */
const OUTPUT_CHARS_MAX = 64 * 1024;

/** See the head of the file. Owns the process until `stop` returns. */
export class NodeProcess {
  readonly #child: Deno.ChildProcess;
  readonly #name: string;
  readonly #log: Promise<void>;
  #errors = "";
  #ended = false;

  /**
   * Starts the process. `command` is this program, `args` follow it. A compiled program unpacks its
   * native library into the temporary directory.
   */
  constructor(name: string, command: readonly string[], args: readonly string[], tmpDir?: string) {
    this.#name = name;
    try {
      this.#child = new Deno.Command(command[0], {
        args: [...command.slice(1), ...args],
        // Variables meant for the user's own node must not reach these.
        env: {
          ...Object.fromEntries(
            Object.entries(Deno.env.toObject()).filter(([key]) => !/^(NEXUS|LD|DYLD)_/.test(key)),
          ),
          ...tmpDir === undefined ? {} : { TMPDIR: tmpDir },
        },
        clearEnv: true,
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (thrown) {
      throw new NexusError(
        "NODE_FAILED",
        `cannot start node ${name}: ${errorMessage(thrown).split("\n")[0]}`,
        { cause: thrown },
      );
    }
    this.#child.status.then(() => this.#ended = true);
    this.#log = this.#keepErrors();
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** What the node wrote on standard error, its end. */
  get errors(): string {
    return this.#errors;
  }

  /**
   * The line with which the node says that it serves. NODE_FAILED when it ends before, CANCELLED
   * when the signal fires first; the process is still to be stopped then.
   */
  async ready(signal: AbortSignal): Promise<ReadyLine> {
    const stop = new Promise<never>((_, reject) => {
      const refuse = () =>
        reject(new NexusError("CANCELLED", `cannot wait for node ${this.#name}: time is up`));
      if (signal.aborted) refuse();
      signal.addEventListener("abort", refuse, { once: true });
    });
    stop.catch(() => {}); // Nobody may be waiting any more when it fires.
    return await Promise.race([this.#readyLine(), stop]);
  }

  /** Ends the process: SIGTERM, after `graceMs` SIGKILL. Resolves when it is gone. */
  async stop(graceMs = STOP_MS_MAX): Promise<void> {
    if (!this.#ended) {
      kill(this.#child, "SIGTERM");
      const timer = setTimeout(() => kill(this.#child, "SIGKILL"), graceMs);
      await this.#child.status;
      clearTimeout(timer);
    }
    await this.#log;
    if (!this.#child.stdout.locked) await this.#child.stdout.cancel();
  }

  async #readyLine(): Promise<ReadyLine> {
    let text = "";
    const decoder = new TextDecoder();
    const reader = this.#child.stdout.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
      const line = text.split("\n").slice(0, -1).find((each) => each.startsWith("{"));
      if (line !== undefined) {
        drain(reader);
        return parseReady(this.#name, line);
      }
      if (text.length > OUTPUT_CHARS_MAX) break;
    }
    drain(reader);
    const { code } = await this.#child.status;
    await this.#log;
    throw new NexusError("NODE_FAILED", `cannot start node ${this.#name}: it ended with ${code}`);
  }

  async #keepErrors(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const part of this.#child.stderr) {
      this.#errors = (this.#errors + decoder.decode(part, { stream: true })).slice(
        -OUTPUT_CHARS_MAX,
      );
    }
  }
}

/** A full pipe would stop the node: what it says later is read and forgotten. */
async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  try {
    while (!(await reader.read()).done);
  } catch {
    // The process is gone.
  }
}

function parseReady(name: string, line: string): ReadyLine {
  try {
    const ready = JSON.parse(line) as ReadyLine;
    if (ready.event === "ready" && typeof ready.nodeId === "string") return ready;
  } catch {
    // Said below.
  }
  throw new NexusError("NODE_FAILED", `cannot start node ${name}: it printed something else`);
}

function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // It has ended by itself.
  }
}
