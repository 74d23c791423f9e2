/** What every command is given: where to write, the global flags, the node it talks to. */
import type { AdminClient } from "./admin/client.ts";
import { Interrupted } from "./exit.ts";
import type { Handlers } from "./handlers.ts";
import { choosePaint, type Paint } from "./output/paint.ts";
import { formatView, type Output, type View } from "./output/view.ts";
import type { Terminal } from "./terminal.ts";

/** Flags that every command takes. */
export interface GlobalFlags {
  readonly output: Output;
  readonly endpoint?: string;
  readonly tokenFile?: string;
  readonly stateDir?: string;
  readonly verbose?: boolean;
  /** False with --no-color. */
  readonly color: boolean;
}

/** Of one run of the CLI. */
export class Context {
  /** Set once the command line is read. */
  flags: GlobalFlags = { output: "table", color: true };
  /** Exit code of a command that came to its end. */
  exitCode = 0;

  constructor(readonly terminal: Terminal, readonly handlers: Handlers) {}

  /** Colours of standard output. */
  get paint(): Paint {
    const { terminal } = this;
    return choosePaint(terminal.outIsTerminal, this.flags.color, terminal.env);
  }

  /** Colours of standard error. */
  get errPaint(): Paint {
    const { terminal } = this;
    return choosePaint(terminal.errIsTerminal, this.flags.color, terminal.env);
  }

  /** Line width of standard output; undefined off a terminal: lines are as long as they need. */
  get width(): number | undefined {
    return this.terminal.outIsTerminal ? this.terminal.width : undefined;
  }

  /** The same of standard error. */
  get errWidth(): number | undefined {
    return this.terminal.errIsTerminal ? this.terminal.width : undefined;
  }

  /** Whether the result is for a program. */
  get isMachine(): boolean {
    return this.flags.output === "json" || this.flags.output === "yaml";
  }

  /** Writes the result in the form that was asked for. */
  async print(view: View): Promise<void> {
    this.terminal.out(await formatView(view, this.flags.output, this.paint, this.width));
  }

  /** One line for people, on standard error. */
  note(text: string): void {
    this.terminal.err(text + "\n");
  }

  /** The node to talk to. Loaded when first needed: most of a start's time is schemas. */
  async admin(): Promise<AdminClient> {
    const { findNode } = await import("./admin/find_node.ts");
    return findNode(this.flags, this.terminal.env, (text) => this.note(`warning: ${text}`));
  }

  /** Runs work that Ctrl-C ends in order: its signal fires, and the exit code tells of it. */
  async interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    let exitCode: number | undefined;
    const end = this.terminal.onStop((code) => {
      exitCode ??= code;
      controller.abort();
    });
    try {
      const result = await work(controller.signal);
      if (exitCode === undefined) return result;
    } catch (thrown) {
      if (exitCode === undefined) throw thrown;
    } finally {
      end();
    }
    throw new Interrupted(exitCode);
  }
}
