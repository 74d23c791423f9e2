/**
 * A program whose whole offspring can be found again: a variable that is inherited marks it. So a
 * test sees what it left behind, also when parents died and children were handed to init.
 */

/** How a process ended and what it said. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to start it, beside its command line. */
export interface MarkedOptions {
  /** In place of the whole environment of the test. */
  readonly clearEnv?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

const VARIABLE = "TEST_OFFSPRING";

/** See the head of the file. */
export class MarkedProcess {
  /** What it said so far. */
  stdout = "";
  stderr = "";
  /** How it ended, whoever ended it. */
  readonly ended: Promise<Ended>;
  readonly pid: number;
  readonly #mark = crypto.randomUUID();
  readonly #child: Deno.ChildProcess;

  constructor([program, ...args]: readonly string[], options: MarkedOptions = {}) {
    this.#child = new Deno.Command(program, {
      args,
      cwd: options.cwd,
      clearEnv: options.clearEnv,
      env: { NO_COLOR: "1", ...options.env, [VARIABLE]: this.#mark },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.pid = this.#child.pid;
    this.ended = this.#follow();
  }

  /** Ids of the processes that carry the mark: itself, what it started, and so on. No zombies. */
  async family(): Promise<number[]> {
    // Deno itself may not read there without --allow-all; grep may, and does not carry the mark.
    const { stdout } = await new Deno.Command("sh", {
      args: ["-c", `grep -lsaF "$0" /proc/[0-9]*/environ`, `${VARIABLE}=${this.#mark}`],
      stdin: "null",
      stderr: "null",
    }).output();
    const files = new TextDecoder().decode(stdout).matchAll(/^\/proc\/(\d+)\/environ$/gm);
    return [...files].map(([, pid]) => Number(pid));
  }

  /** A signal to the whole family, as Ctrl-C in a terminal sends it. */
  async signalFamily(signal: Deno.Signal): Promise<void> {
    for (const pid of await this.family()) {
      try {
        Deno.kill(pid, signal);
      } catch (thrown) {
        if (!(thrown instanceof Deno.errors.NotFound)) throw thrown; // It ended meanwhile.
      }
    }
  }

  async #follow(): Promise<Ended> {
    await Promise.all([
      read(this.#child.stdout, (text) => this.stdout += text),
      read(this.#child.stderr, (text) => this.stderr += text),
    ]);
    const { code } = await this.#child.status;
    return { code, stdout: this.stdout, stderr: this.stderr };
  }
}

async function read(stream: ReadableStream<Uint8Array>, take: (text: string) => void) {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) take(text);
}
