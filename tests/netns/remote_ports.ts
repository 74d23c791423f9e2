/** The test's end of port_process.ts. */
import type { Answers, Command } from "./port_process.ts";
import type { Side, Wire } from "./namespaces.ts";

const PROCESS = new URL("./port_process.ts", import.meta.url).pathname;

/** A process on one side of the wire; it ends with the block it was made in. */
export class RemotePorts implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;

  constructor(wire: Wire, side: Side) {
    this.#child = wire.command(side, Deno.execPath(), {
      args: [
        "run",
        "--no-check",
        "--allow-net",
        "--allow-ffi",
        "--allow-read",
        "--allow-env",
        PROCESS,
      ],
      env: { NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout);
  }

  /** Sends a command and waits for its answer. */
  async call<C extends Command>(command: C): Promise<Answers[C["do"]]> {
    await this.#input.write(new TextEncoder().encode(`${JSON.stringify(command)}\n`));
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`the process ended at ${command.do}`);
    return JSON.parse(value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    while (!(await this.#lines.next()).done);
    await this.#child.status;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
