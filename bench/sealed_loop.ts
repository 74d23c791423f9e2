/**
 * The limit of a stream's goodput on loopback: ffi/native/bench/sealed_loop.c, which does what has to
 * be done to every byte (copy, AES-256-GCM, CRC-32C, UDP) and nothing else.
 */
import { buildProgram } from "../ffi/build.ts";
import { Program } from "./program.ts";

const SOURCE = "bench/sealed_loop.c";
/** There is no compiler to wait for; pages and caches are warm after some 10 ms. */
const WARM_UP_S = 0.5;
/** Enough to see that the program works here. */
const TRIAL_S = 0.01;

/** The program, built for one run; disposing removes it. */
export class SealedLoop implements AsyncDisposable {
  readonly #program: string;

  private constructor(program: string) {
    this.#program = program;
  }

  /** Throws where there is no compiler, or no intel-ipsec-mb that suits the CPU. */
  static async build(): Promise<SealedLoop> {
    const loop = new SealedLoop(await Deno.makeTempFile({ prefix: "nexus-sealed-loop-" }));
    try {
      await buildProgram({ sources: [SOURCE], output: loop.#program, flags: ["-O2"] });
      const args = ["alone", String(TRIAL_S)];
      const trial = await new Deno.Command(loop.#program, { args }).output();
      if (!trial.success) throw new Error(new TextDecoder().decode(trial.stderr).trim());
    } catch (error) {
      await loop[Symbol.asyncDispose]();
      throw error;
    }
    return loop;
  }

  /** Gbit/s of application data that arrive, counted for so many milliseconds. */
  async goodput(measureMs: number): Promise<number> {
    await using receiver = Program.start(this.#program, ["rx", WARM_UP_S, measureMs / 1000]);
    await using _sender = Program.start(this.#program, ["tx", await receiver.line()]);
    const [bytes, seconds] = (await receiver.line()).split(" ").map(Number);
    return bytes * 8 / seconds / 1e9;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#program);
  }
}
