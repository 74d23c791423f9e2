/** A path of given rate, delay and loss between the two sides of a wire (emulator.c). */
import { C_FLAGS } from "../../ffi/build.ts";
import type { Side, Wire } from "./namespaces.ts";

const SOURCE = new URL("./emulator.c", import.meta.url).pathname;
const MTU = 1500;

/** Where the sides are on the path; on the wire they have other addresses. */
export const PATH_ADDRESS: Record<Side, string> = { a: "10.78.0.1", b: "10.78.0.2" };

/** What the path is like, both ways. */
export interface PathOptions {
  readonly mbitPerS: number;
  /** One way, µs. */
  readonly delayUs: number;
  /** Share of the packets that are lost, 0 … 1. */
  readonly lossRate: number;
  /** Of the queue in front of the line; what does not fit is dropped. */
  readonly queueBytes: number;
  readonly seed: number;
}

/** Needs a C compiler and what Wire needs. */
export class EmulatedPath implements AsyncDisposable {
  readonly #directory: string;
  readonly #child: Deno.ChildProcess;

  private constructor(directory: string, child: Deno.ChildProcess) {
    this.#directory = directory;
    this.#child = child;
  }

  /** Lays the path between the sides of the wire. */
  static async create(wire: Wire, options: PathOptions): Promise<EmulatedPath> {
    const { mbitPerS, delayUs, lossRate, queueBytes, seed } = options;
    const directory = await Deno.makeTempDir({ prefix: "nexus-emulator-" });
    const program = `${directory}/emulator`;
    await succeed("cc", [...C_FLAGS, "-O2", SOURCE, "-o", program]);
    const child = new Deno.Command(program, {
      args: [
        wire.namespace("a"),
        wire.namespace("b"),
        ...[mbitPerS, delayUs, Math.round(lossRate * 1e6), queueBytes, seed].map(String),
      ],
      stdin: "null",
      stdout: "piped",
    }).spawn();
    const path = new EmulatedPath(directory, child);
    try {
      const reader = child.stdout.getReader();
      if ((await reader.read()).done) throw new Error("the emulator did not start");
      await reader.cancel();
      for (const [side, other] of [["a", "b"], ["b", "a"]] as const) {
        const ip = (...args: string[]) => succeed("ip", ["-n", wire.namespace(side), ...args]);
        const { [side]: own, [other]: peer } = PATH_ADDRESS;
        await ip("addr", "add", own, "peer", peer, "dev", "path");
        await ip("link", "set", "path", "mtu", String(MTU), "up");
      }
      return path;
    } catch (error) {
      await path[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* it has ended by itself */ }
    await this.#child.status;
    await Deno.remove(this.#directory, { recursive: true });
  }
}

async function succeed(program: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args }).output();
  if (!success) throw new Error(`${program}: ${new TextDecoder().decode(stderr).trim()}`);
}
