/** A program that a benchmark starts and reads line by line, such as one end of a transfer. */

/** Longest that a program is silent: 10,000 handshakes on a machine that is busy with other work. */
const SILENCE_MS_MAX = 150_000;

export class Program implements AsyncDisposable {
  static readonly #running = new Set<Deno.ChildProcess>();
  readonly #child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(command: Deno.Command) {
    const child = this.#child = command.spawn();
    Program.#running.add(child);
    child.status.then(() => Program.#running.delete(child));
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Starts `command`; its standard error goes to ours. */
  static start(command: string, args: readonly (string | number)[]): Program {
    return new Program(new Deno.Command(command, programOptions(args)));
  }

  /** Ends all that run: the benchmark itself is to end. */
  static endAll(): void {
    for (const child of Program.#running) kill(child);
  }

  /** The next line that it prints; throws when it ends or is silent. */
  async line(): Promise<string> {
    while (!this.#text.includes("\n")) {
      const { value, done } = await this.#read();
      if (done) throw new Error("a benchmark program ended early");
      this.#text += value;
    }
    const [line] = this.#text.split("\n", 1);
    this.#text = this.#text.slice(line.length + 1);
    return line;
  }

  /** Everything it still prints, until it ends. */
  async rest(): Promise<string> {
    for (;;) {
      const { value, done } = await this.#read();
      if (done) break;
      this.#text += value;
    }
    await this.#child.status;
    return this.#text;
  }

  async #read(): Promise<ReadableStreamReadResult<string>> {
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => reject(new Error(`a benchmark program said nothing for ${SILENCE_MS_MAX} ms`)),
      SILENCE_MS_MAX,
    );
    try {
      return await Promise.race([this.#reader.read(), promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  async end(): Promise<void> {
    kill(this.#child); // Nothing that it still had to say would be read.
    await this.#reader.cancel().catch(() => {});
    await this.#child.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch { /* it has ended by itself */ }
}

/** How programs are started, wherever that is. */
export function programOptions(args: readonly (string | number)[]): Deno.CommandOptions {
  return { args: args.map(String), stdin: "null", stdout: "piped", stderr: "inherit" };
}
