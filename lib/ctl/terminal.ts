/** The process as commands see it: output, input, environment, signals. Tests hand in another. */

/** Where a command reads and writes. */
export interface Terminal {
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  /** Characters in a line of the window; undefined when there is none or it does not say. */
  readonly width: number | undefined;
  /** Standard output: results only. */
  out(text: string): void;
  /** Standard error: everything else. */
  err(text: string): void;
  /** All of standard input as text. */
  readInput(): Promise<string>;
  readonly env: (name: string) => string | undefined;
  /** Calls back with the exit code of a signal that asks to stop; returns how to end that. */
  onStop(handle: (exitCode: number) => void): () => void;
}

const encoder = new TextEncoder();

/** Longest prompt taken from standard input, bytes: the node's own default for a request. */
const INPUT_BYTES_MAX = 32 * 1024 * 1024;

/** 128 + number of the signal, as shells count. */
const STOP_SIGNALS: ReadonlyArray<readonly [Deno.Signal, number]> = [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
];

/** The real one. */
export const systemTerminal: Terminal = {
  outIsTerminal: Deno.stdout.isTerminal(),
  errIsTerminal: Deno.stderr.isTerminal(),
  get width() { // Asked for each time: windows change.
    try {
      return Deno.consoleSize().columns || undefined; // Some serial lines say 0.
    } catch {
      return undefined;
    }
  },
  out: (text) => writeAll(Deno.stdout, text),
  err(text) {
    try {
      writeAll(Deno.stderr, text);
    } catch {
      // Nobody listens; there is nowhere left to say so.
    }
  },
  async readInput() {
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const part of Deno.stdin.readable) {
      bytes += part.length;
      if (bytes > INPUT_BYTES_MAX) break; // The node refuses it with its own limit and words.
      parts.push(part);
    }
    return await new Blob(parts as BlobPart[]).text();
  },
  env: (name) => Deno.env.get(name) || undefined,
  onStop(handle) {
    const listeners = STOP_SIGNALS
      .filter(([signal]) => Deno.build.os !== "windows" || signal === "SIGINT")
      .map(([signal, exitCode]) => [signal, () => handle(exitCode)] as const);
    for (const [signal, listener] of listeners) Deno.addSignalListener(signal, listener);
    return () => {
      for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
    };
  },
};

function writeAll(to: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = encoder.encode(text);
  for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
}
