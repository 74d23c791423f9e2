/**
 * Runs real nodes as processes of their own: temporary state directories, ports that the system
 * chooses, every wait bounded, nothing left behind. `e2e` defines a test that gets a `Stage`;
 * when it fails, what its nodes wrote to standard error is shown.
 *
 * `NEXUS_BINARY=dist/nexus` runs the same tests with the compiled binary.
 */
import OpenAI from "openai";
import { adminTokenFile } from "../../lib/io/admin_token.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** As the task `nexus` in deno.json. */
const PERMISSIONS = ["net", "read", "write", "env", "sys", "run", "ffi"].map((name) =>
  `--allow-${name}`
);

/** A node starts in about a second; this bounds it on a machine under load. */
const START_MS_MAX = 20_000;
/** Longest wait for anything that was asked for. */
const WAIT_MS_MAX = 10_000;
/** After SIGTERM; nodes of these tests drain for 2 s at most unless they say otherwise. */
const STOP_MS_MAX = 8_000;
/** A command that is run to its end. */
const RUN_MS_MAX = 30_000;
/** A whole test with all its steps. */
const TEST_MS_MAX = 60_000;
/** Of the standard error of a node, shown when its test failed. */
const STDERR_CHARS_SHOWN = 6_000;

/** The line that a node prints when it serves. */
export interface Ready {
  nodeId: string;
  name: string;
  stateDir: string;
  link: string[];
  admin: string;
  bridge: string;
  invite?: { token: string; expiresS: number; uses: number };
}

/** Sections of the config file; what is left out gets the defaults of `Stage.configure`. */
export type Config = Record<string, unknown>;

/** A config file in a directory of its own. */
export interface Place {
  readonly name: string;
  readonly dir: string;
  readonly configFile: string;
  readonly stateDir: string;
}

/** How a process ended and what it said. */
export interface Ended {
  code: number;
  signal: Deno.Signal | null;
  stdout: string;
  stderr: string;
}

/**
 * Defines an end-to-end test. Whatever happens in it, its processes are gone and its files removed
 * before the next one starts.
 */
export function e2e(name: string, run: (stage: Stage, t: Deno.TestContext) => Promise<void>): void {
  Deno.test({
    name,
    async fn(t) {
      const stage = new Stage();
      try {
        await within(TEST_MS_MAX, "the test", run(stage, t));
      } catch (error) {
        stage.showStderr();
        throw error;
      } finally {
        await stage.clear();
      }
    },
  });
}

/** What one test put up. */
export class Stage {
  readonly dir = Deno.makeTempDirSync({ prefix: "nexus-e2e-" });
  readonly nodes: NodeProcess[] = [];
  readonly #cleanups: (() => void | Promise<void>)[] = [];
  #places = 0;

  /** Writes a config with loopback addresses, free ports and a fresh state directory. */
  configure(name: string, config: Config = {}): Place {
    const dir = `${this.dir}/${++this.#places}-${name}`;
    Deno.mkdirSync(dir);
    const place = { name, dir, configFile: `${dir}/nexus.yaml`, stateDir: `${dir}/state` };
    this.rewrite(place, config);
    return place;
  }

  /** Writes the config of a place anew; for a restart with another one. */
  rewrite(place: Place, config: Config): void {
    const full: Config = { limits: { drain_ms: 2_000 }, log: { level: "debug" }, ...config };
    full.node = { name: place.name, state_dir: place.stateDir, ...sectionOf(config, "node") };
    full.link = { listen: "127.0.0.1:0", ...sectionOf(config, "link") };
    full.admin = { listen: "127.0.0.1:0", ...sectionOf(config, "admin") };
    full.bridge = { listen: "127.0.0.1:0", ...sectionOf(config, "bridge") };
    // JSON is YAML.
    Deno.writeTextFileSync(place.configFile, JSON.stringify(full, undefined, 2));
  }

  /** Starts a node, with further flags of `nexus up` if wanted, and waits until it is ready. */
  async start(
    where: string | Place,
    config: Config = {},
    ...flags: string[]
  ): Promise<NodeProcess> {
    const place = typeof where === "string" ? this.configure(where, config) : where;
    const node = new NodeProcess(place, "up", flags);
    this.nodes.push(node);
    await node.becomesReady();
    return node;
  }

  /** Starts several at once: start-up is mostly waiting for the disk. */
  async startAll(configs: Record<string, Config>): Promise<NodeProcess[]> {
    return await Promise.all(
      Object.entries(configs).map(([name, config]) => this.start(name, config)),
    );
  }

  /**
   * Runs `nexus daemon`, which is expected to give up by itself with one clear line.
   * @returns that line, and the exit code
   */
  async startFails(
    where: string | Place,
    config: Config = {},
  ): Promise<{ line: string; code: number }> {
    const place = typeof where === "string" ? this.configure(where, config) : where;
    const node = new NodeProcess(place, "daemon");
    this.nodes.push(node);
    const { code, stderr } = await within(START_MS_MAX, `${place.name} to give up`, node.ended);
    // The rest of standard error is the log, a JSON object a line, and perhaps a hint.
    const lines = stderr.split("\n").filter((line) => line !== "" && !line.startsWith("{"));
    if (
      !lines[0]?.startsWith("nexus: ") || lines.slice(1).some((line) => !line.startsWith("hint: "))
    ) {
      throw new Error(`expected one line and a hint, ${place.name} said:\n${lines.join("\n")}`);
    }
    return { line: lines[0], code };
  }

  /** Runs when the test is over, last registered first. */
  onClear(cleanup: () => void | Promise<void>): void {
    this.#cleanups.push(cleanup);
  }

  showStderr(): void {
    for (const { name, pid, stderr } of this.nodes) {
      const shown = stderr.length > STDERR_CHARS_SHOWN
        ? `…${stderr.slice(-STDERR_CHARS_SHOWN)}`
        : stderr;
      console.error(`── stderr of ${name} (pid ${pid}) ──\n${shown}`);
    }
  }

  async clear(): Promise<void> {
    for (const node of this.nodes) node.signal("SIGKILL");
    await Promise.all(this.nodes.map((node) => node.ended));
    for (const cleanup of this.#cleanups.reverse()) await cleanup();
    await Deno.remove(this.dir, { recursive: true });
  }
}

/** One `nexus up` (or `nexus daemon`) in a process of its own. */
export class NodeProcess {
  readonly name: string;
  readonly pid: number;
  /** How it ended, whoever ended it. */
  readonly ended: Promise<Ended>;
  stdout = "";
  stderr = "";
  #child: Deno.ChildProcess;
  #running = true;
  #ready?: Ready;

  constructor(
    readonly place: Place,
    command: "up" | "daemon" = "up",
    flags: readonly string[] = [],
  ) {
    this.name = place.name;
    const [program, ...args] = nexus(command, "--config", place.configFile, "-o", "json", ...flags);
    this.#child = new Deno.Command(program, {
      args,
      cwd: place.dir,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.pid = this.#child.pid;
    this.ended = this.#follow();
  }

  get ready(): Ready {
    if (this.#ready === undefined) throw new Error(`${this.name} is not ready`);
    return this.#ready;
  }
  get nodeId(): string {
    return this.ready.nodeId;
  }
  get token(): string {
    return Deno.readTextFileSync(adminTokenFile(this.place.stateDir)).trim();
  }
  /** The invite token that it printed. */
  get invite(): string {
    const { invite } = this.ready;
    if (invite === undefined) throw new Error(`${this.name} printed no invite`);
    return invite.token;
  }

  async becomesReady(): Promise<void> {
    const line = await until(`${this.name} to be ready`, () => {
      const found = /^\{.*"event":"ready".*\}$/m.exec(this.stdout)?.[0];
      if (found === undefined && !this.#running) throw new Error(`${this.name} ended by itself`);
      return found;
    }, START_MS_MAX);
    this.#ready = JSON.parse(line);
  }

  /** Sends a signal; nothing happens when the process is gone. */
  signal(signal: Deno.Signal): void {
    if (this.#running) this.#child.kill(signal);
  }

  /** Waits for the end. */
  async ends(): Promise<Ended> {
    return await within(STOP_MS_MAX, `${this.name} to end`, this.ended);
  }
  /** SIGTERM, and waits for the end. A node that gets two of them leaves without draining. */
  async stop(): Promise<Ended> {
    this.signal("SIGTERM");
    return await this.ends();
  }
  /** kill -9, and waits for the end. */
  async kill(): Promise<Ended> {
    this.signal("SIGKILL");
    return await this.ends();
  }

  /** An unmodified OpenAI client on the bridge. It retries nothing, so that errors are seen. */
  openai(): OpenAI {
    return new OpenAI({
      baseURL: `http://${this.ready.bridge}/v1`,
      apiKey: "none",
      maxRetries: 0,
      timeout: 30_000,
    });
  }

  /** One call of the admin API with the node's token. */
  async admin(path: string, init: RequestInit = {}): Promise<Response> {
    return await fetch(`http://${this.ready.admin}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${this.token}`, ...init.headers },
      signal: AbortSignal.timeout(WAIT_MS_MAX),
    });
  }
  async adminStatus(path: string, init: RequestInit = {}): Promise<number> {
    const response = await this.admin(path, init);
    await response.text();
    return response.status;
  }
  /** GET or POST, JSON in and out; anything but a success throws. */
  // deno-lint-ignore no-explicit-any
  async adminJson(path: string, body?: unknown): Promise<any> {
    const response = await this.admin(
      path,
      body === undefined ? {} : {
        method: "POST",
        body: JSON.stringify(body),
        headers: { "content-type": "application/json" },
      },
    );
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  /** Sum of the samples of a metric whose labels match. */
  async metric(name: string, labels = /./): Promise<number> {
    const text = await (await this.admin("/metrics")).text();
    let sum = 0;
    for (const [, labelled, value] of text.matchAll(new RegExp(`^${name}(\\S*) (\\S+)$`, "gm"))) {
      if (labels.test(labelled || "{}")) sum += Number(value);
    }
    return sum;
  }

  /** Ids of the nodes that its routing table has models of. */
  async routes(): Promise<{ nodeId: string; model: string }[]> {
    return (await this.adminJson("/api/v1/routes")).routes;
  }

  /** Waits until this node knows exactly these models. */
  async knows(...models: string[]): Promise<void> {
    const wanted = models.toSorted().join(" ");
    let known = "";
    await until(() => `${this.name} to know [${wanted}], it knows [${known}]`, async () => {
      known = (await this.routes()).map((route) => route.model).toSorted().join(" ");
      return known === wanted;
    });
  }

  async #follow(): Promise<Ended> {
    await Promise.all([
      read(this.#child.stdout, (text) => this.stdout += text),
      read(this.#child.stderr, (text) => this.stderr += text),
    ]);
    const { code, signal } = await this.#child.status;
    this.#running = false;
    return { code, signal, stdout: this.stdout, stderr: this.stderr };
  }
}

/** One line of a stream that is not text is no reason to stop reading. */
async function read(stream: ReadableStream<Uint8Array>, take: (text: string) => void) {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) take(text);
}

/** The command line of a nexus command: from source, or of the compiled binary. */
export function nexus(...args: string[]): string[] {
  const binary = Deno.env.get("NEXUS_BINARY");
  if (binary !== undefined) return [binary.startsWith("/") ? binary : ROOT + binary, ...args];
  const config = ["--config", `${ROOT}deno.json`];
  return [Deno.execPath(), "run", ...PERMISSIONS, ...config, `${ROOT}main.ts`, ...args];
}

function sectionOf(config: Config, section: string): Config {
  return (config[section] ?? {}) as Config;
}

/** Runs a command to its end. */
export async function run(
  [program, ...args]: string[],
  env: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = new Deno.Command(program, {
    args,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  try {
    const { code, stdout, stderr } = await within(RUN_MS_MAX, args.join(" "), child.output());
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, stdout: text(stdout), stderr: text(stderr) };
  } catch (error) {
    child.kill("SIGKILL");
    await child.status;
    throw error;
  }
}

// --- waiting ----------------------------------------------------------------------------

/** The value of the promise, or an error that says what was waited for. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again and again until the answer is something; throws when it takes too long. */
export async function until<T>(
  what: string | (() => string),
  condition: () => T | Promise<T>,
  ms = WAIT_MS_MAX,
): Promise<NonNullable<T>> {
  const endMs = performance.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > endMs) {
      throw new Error(`waited ${ms} ms for ${typeof what === "string" ? what : what()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** What a promise is rejected with; fulfilling it is the error then. */
// deno-lint-ignore no-explicit-any
export async function failureOf(what: string, promise: Promise<unknown>): Promise<any> {
  let value: unknown;
  try {
    value = await within(WAIT_MS_MAX, what, promise);
  } catch (error) {
    return error;
  }
  throw new Error(`expected ${what} to fail, it gave ${JSON.stringify(value)?.slice(0, 300)}`);
}
