/** The demo's mesh: three node processes and their directory, gone again when it is closed. */
import { join } from "node:path";
import { NexusError } from "../../base/mod.ts";
import type { ReadyLine } from "../handlers.ts";
import { configText, type DemoNode } from "./nodes.ts";
import { NodeProcess } from "./node_process.ts";

/** Admits the other two nodes and the client. */
const INVITE_USES = 3;

/** A node that serves. */
export interface RunningNode {
  readonly node: DemoNode;
  readonly ready: ReadyLine;
  readonly pid: number;
  readonly startMs: number;
}

/** See the head of the file. */
export class LocalMesh {
  readonly #command: readonly string[];
  readonly #dir: string;
  readonly #processes: NodeProcess[] = [];
  /** What a node that failed to start had to say. */
  failureLog = "";

  /** `command` starts this program. */
  constructor(command: readonly string[]) {
    this.#command = command;
    this.#dir = Deno.makeTempDirSync({ prefix: "nexus-demo-" });
  }

  /** Starts the first node, which makes the mesh; its `ready` holds the invite. */
  async startFirst(node: DemoNode, signal: AbortSignal): Promise<RunningNode> {
    const config = this.#writeConfig(node);
    const args = ["up", "--config", config, "--uses", String(INVITE_USES), "-o", "json"];
    return await this.#start(node, args, signal);
  }

  /** Starts a node that joins with the invite. The token goes through a file, not through `ps`. */
  async startNext(node: DemoNode, token: string, signal: AbortSignal): Promise<RunningNode> {
    const joinFile = join(this.#dir, `${node.name}.invite`);
    Deno.writeTextFileSync(joinFile, token + "\n", { mode: 0o600 });
    const config = this.#writeConfig(node, joinFile);
    return await this.#start(node, ["daemon", "--config", config, "-o", "json"], signal);
  }

  /** Ends every process and removes the directory, whatever happened before. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#processes.map((process) => process.stop()));
    try {
      await Deno.remove(this.#dir, { recursive: true });
    } catch (thrown) {
      if (!(thrown instanceof Deno.errors.NotFound)) throw thrown;
    }
  }

  async #start(node: DemoNode, args: string[], signal: AbortSignal): Promise<RunningNode> {
    const startedMs = performance.now();
    const process = new NodeProcess(node.name, this.#command, args, this.#dir);
    this.#processes.push(process);
    try {
      const ready = await process.ready(signal);
      return { node, ready, pid: process.pid, startMs: performance.now() - startedMs };
    } catch (thrown) {
      if (thrown instanceof NexusError) this.failureLog ||= process.errors;
      throw thrown;
    }
  }

  #writeConfig(node: DemoNode, joinFile?: string): string {
    const file = join(this.#dir, `${node.name}.yaml`);
    const text = configText(node, join(this.#dir, node.name), joinFile);
    Deno.writeTextFileSync(file, text, { mode: 0o600 });
    return file;
  }
}
