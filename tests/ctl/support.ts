/** The CLI under test: a terminal that records, handlers that record, a node's admin API by hand. */
import type { Handlers, RunOptions, Terminal } from "../../lib/ctl/mod.ts";
import { runCli } from "../../lib/ctl/mod.ts";

export const TOKEN = "nxa_" + "t".repeat(43);
export const NODE_A = "a0".repeat(16);
export const NODE_B = "b1".repeat(16);
export const SHA = "cd".repeat(32);

/** What a run left behind. */
export interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** How a run differs from the usual one. */
export interface RunSetup {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly outIsTerminal?: boolean;
  readonly errIsTerminal?: boolean;
  readonly width?: number;
  readonly handlers?: Partial<Handlers>;
  /** Called with each text that goes to standard output. */
  readonly onOut?: (text: string, terminal: FakeTerminal) => void;
}

/** Records what is written; `stop` plays a signal. */
export class FakeTerminal implements Terminal {
  output = "";
  errors = "";
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  readonly width: number | undefined;
  readonly #setup: RunSetup;
  readonly #stops = new Set<(exitCode: number) => void>();

  constructor(setup: RunSetup) {
    this.#setup = setup;
    this.outIsTerminal = setup.outIsTerminal ?? false;
    this.errIsTerminal = setup.errIsTerminal ?? false;
    this.width = setup.width;
  }

  out(text: string): void {
    this.output += text;
    this.#setup.onOut?.(text, this);
  }
  err(text: string): void {
    this.errors += text;
  }
  readInput(): Promise<string> {
    return Promise.resolve(this.#setup.input ?? "");
  }
  readonly env = (name: string): string | undefined => this.#setup.env?.[name];
  onStop(handle: (exitCode: number) => void): () => void {
    this.#stops.add(handle);
    return () => this.#stops.delete(handle);
  }
  /** A signal arrives. */
  stop(exitCode = 130): void {
    for (const handle of this.#stops) handle(exitCode);
  }
  /** Whether something still waits for signals. */
  get isWatched(): boolean {
    return this.#stops.size > 0;
  }
}

/** Handlers that do nothing; `runs` gets what `runNode` was called with. */
export function fakeHandlers(runs: RunOptions[] = []): Handlers {
  return {
    version: "1.2.3",
    protocol: 1,
    self: ["false"],
    runNode(options) {
      runs.push(options);
      return Promise.resolve(0);
    },
    isConfigMistake: () => Promise.resolve(false),
    checkConfig: ({ configFile }) =>
      Promise.resolve({ file: configFile, config: {}, warnings: [] }),
  };
}

/** Runs one command line; with a terminal of its own unless one is given. */
export async function run(
  args: string[],
  setup: RunSetup = {},
  given?: FakeTerminal,
): Promise<Run> {
  const terminal = given ?? new FakeTerminal(setup);
  const code = await runCli(args, { ...fakeHandlers(), ...setup.handlers }, terminal);
  return { code, out: terminal.output, err: terminal.errors };
}

/** A request as the fake node saw it. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | null;
  readonly body: unknown;
}

/** A node's admin API: fixed answers by "METHOD /path". */
export class FakeNode implements AsyncDisposable {
  readonly seen: Seen[] = [];
  readonly endpoint: string;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(answers: Record<string, (request: Request, body: unknown) => Response>) {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      async (request) => {
        const { pathname } = new URL(request.url);
        const text = await request.text();
        const body = text === "" ? undefined : JSON.parse(text);
        const authorization = request.headers.get("authorization");
        this.seen.push({ method: request.method, path: pathname, authorization, body });
        if (authorization !== `Bearer ${TOKEN}`) {
          return failure(401, "UNAUTHORIZED", "cannot answer: no valid token");
        }
        const answer = answers[`${request.method} ${pathname}`];
        return answer?.(request, body) ?? failure(404, "NOT_FOUND", "there is no such path");
      },
    );
    this.endpoint = `127.0.0.1:${this.#server.addr.port}`;
  }

  /** Environment that leads the CLI here. */
  get env(): Record<string, string> {
    return { NEXUS_ENDPOINT: this.endpoint, NEXUS_TOKEN: TOKEN };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** An error as the admin API gives it. */
export function failure(status: number, code: string, message: string, hint?: string): Response {
  return Response.json({ error: { code, message, hint } }, { status });
}

/** Server-sent events of objects with a type. */
export function eventResponse(events: readonly { type: string }[]): Response {
  const text = events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  return new Response(text.join(""), { headers: { "content-type": "text/event-stream" } });
}
