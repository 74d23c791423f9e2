/**
 * One address served by several Workers, so that several connections use several cores. Each worker
 * has its own driver, endpoint and port; all have the same identity. The kernel gives a datagram to
 * the worker whose connection it belongs to (ffi/native/steer.c), so the workers share nothing.
 *
 *   datagrams ──► kernel: connection id mod n ─┬─► worker 0: port ─ endpoint ─ sessions
 *                                              └─► worker 1: port ─ endpoint ─ sessions
 *                  this object: open · counters · drain · close, and stray handshake messages
 *
 * The kernel numbers the ports in the order in which they were opened and numbers them anew when one
 * is closed. So workers open one after the other, close together, and the failure of one ends all.
 */
import { NexusError, type SocketAddress } from "../base/mod.ts";
import type { Stray } from "../endpoint/mod.ts";
import { resolveSocketAddress } from "../io/numeric_host.ts";
import { udpNativeUnavailable } from "../io/udp_native_port.ts";
import type { MemberCommand, MemberCounters, MemberMessage } from "./worker_member.ts";

/** As many as a group of ports has (NX_GROUP_SIZE_MAX). */
const WORKERS_MAX = 256;

/** How to open a group. */
export interface WorkerGroupOptions<Setup> {
  /**
   * Runs in each worker and calls `serveInGroup` (worker_member.ts). `deno compile` embeds it only
   * when `--include` names it, as the module graph does not.
   */
  readonly module: URL;
  /** A copy goes to each worker: identity seed, certificates, whatever it needs. */
  readonly setup: Setup;
  /** Port 0: the first worker's port is everybody's. */
  readonly listen: SocketAddress;
  /** Default: one for each core. */
  readonly workers?: number;
}

/** Counters of all workers together and of each. */
export interface GroupCounters {
  readonly total: MemberCounters;
  readonly members: readonly MemberCounters[];
}

type Answer<Do extends string> = Extract<MemberMessage, { did: Do; id: number }>;
type Asked = Exclude<MemberCommand, { do: "stray" }>;
/** The command as its caller writes it. */
type Question<Do extends Asked["do"]> = Omit<Extract<Asked, { do: Do }>, "id">;

/** See the head of the file. */
export class WorkerGroup {
  /** How many workers there are: 1 where the kernel cannot be told to steer. */
  readonly size: number;
  /** Why there are so many, for the log. */
  readonly reason: string;
  /** Resolves when the group has ended: with the error when a worker failed. */
  readonly ended: Promise<NexusError | undefined>;
  readonly #members: Member[];
  #address!: SocketAddress;
  #end!: (error: NexusError | undefined) => void;
  #closing?: Promise<GroupCounters>;

  private constructor(module: URL, size: number, reason: string) {
    this.size = size;
    this.reason = reason;
    const { promise, resolve } = Promise.withResolvers<NexusError | undefined>();
    this.ended = promise;
    this.#end = resolve;
    this.#members = Array.from({ length: size }, () =>
      new Member(
        module,
        (stray) => this.#members[stray.owner]?.post({ do: "stray", stray }),
        (error) => this.#fail(error),
      ));
  }

  /**
   * Starts the workers and resolves when all of them listen.
   * @throws NexusError INVALID_WORKERS, UNKNOWN_HOST, LISTEN_FAILED and what opening a port throws, WORKER_FAILED
   *   when the module cannot be loaded or its `make` threw something else
   */
  static async open<Setup>(options: WorkerGroupOptions<Setup>): Promise<WorkerGroup> {
    const { module, setup, workers = navigator.hardwareConcurrency } = options;
    if (!Number.isInteger(workers) || workers < 1 || workers > WORKERS_MAX) {
      throw new NexusError(
        "INVALID_WORKERS",
        `cannot open workers: number is ${workers}, expected 1 … ${WORKERS_MAX}`,
      );
    }
    let listen = await resolveSocketAddress(options.listen);
    const unavailable = udpNativeUnavailable();
    const group = unavailable === undefined
      ? new WorkerGroup(module, workers, "the kernel steers by connection id")
      : new WorkerGroup(module, 1, `one worker, because frames cannot be steered: ${unavailable}`);
    try {
      for (const [index, member] of group.#members.entries()) {
        const place = group.size === 1 ? undefined : { index, size: group.size };
        const { address } = await member.ask({ do: "open", setup, listen, group: place });
        group.#address = address;
        listen = { host: listen.host, port: address.port };
      }
    } catch (error) {
      await group.close(0);
      throw error;
    }
    return group;
  }

  /** Where the group listens. */
  get address(): SocketAddress {
    return this.#address;
  }

  /** @throws NexusError CLOSED, or why a worker failed */
  async counters(): Promise<GroupCounters> {
    const answers = await Promise.all(this.#members.map((each) => each.ask({ do: "counters" })));
    return countersOf(answers.map(({ counters }) => counters));
  }

  /**
   * Says goodbye on every session, waits for the answers up to `graceMs`, then closes all ports.
   * Returns the last counters, of the workers that could still tell.
   */
  close(graceMs = 300): Promise<GroupCounters> {
    return this.#closing ??= this.#close(graceMs, undefined);
  }

  async #close(graceMs: number, error: NexusError | undefined): Promise<GroupCounters> {
    const members = this.#members;
    // No port may go while another worker still has sessions: frames would be steered anew.
    await Promise.allSettled(members.map((each) => each.ask({ do: "drain", graceMs })));
    const last = await Promise.allSettled(members.map((each) => each.ask({ do: "close" })));
    for (const member of members) member.terminate(error);
    this.#end(error);
    return countersOf(
      last.flatMap((each) => each.status === "fulfilled" ? [each.value.counters] : []),
    );
  }

  #fail(error: NexusError): void {
    this.#closing ??= this.#close(0, error);
  }
}

/** The group's end of one worker. */
class Member {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, {
    resolve: (answer: never) => void;
    reject: (error: NexusError) => void;
  }>();
  #nextId = 1;
  #open = false;
  /** Why there are no answers. */
  #over?: NexusError;

  constructor(
    module: URL,
    onStray: (stray: Stray) => void,
    onFail: (error: NexusError) => void,
  ) {
    this.#worker = new Worker(module, { type: "module" });
    const fail = (error: NexusError) => {
      this.#giveUp(error);
      onFail(error);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      fail(new NexusError("WORKER_FAILED", `worker failed: ${event.message}`));
    };
    this.#worker.onmessage = ({ data }: MessageEvent<MemberMessage>) => {
      if (data.did === "stray") return onStray(data.stray);
      if (data.did === "fail") {
        const { code, message, hint } = data.error;
        return fail(new NexusError(code, message, { hint }));
      }
      if (data.did === "open") this.#open = true;
      this.#waiting.get(data.id)?.resolve(data as never);
      this.#waiting.delete(data.id);
    };
  }

  ask<Do extends Asked["do"]>(question: Question<Do> & { do: Do }): Promise<Answer<Do>> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    // One that does not listen has nothing to say, nor to close.
    if (question.do !== "open" && !this.#open) return Promise.reject(notOpen());
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.post({ ...question, id } as unknown as MemberCommand);
    });
  }

  post(command: MemberCommand): void {
    this.#worker.postMessage(command);
  }

  /** Whoever still waits for an answer learns why there is none. */
  terminate(why = notOpen()): void {
    this.#giveUp(why);
    this.#worker.terminate();
  }

  #giveUp(error: NexusError): void {
    this.#over ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#over);
    this.#waiting.clear();
  }
}

function notOpen(): NexusError {
  return new NexusError("CLOSED", "cannot ask worker: it is closed, expected an open group");
}

function countersOf(members: readonly MemberCounters[]): GroupCounters {
  const total = {};
  for (const member of members) addNumbers(total, { ...member });
  return { total: total as MemberCounters, members };
}

/** Adds every number of a record, and of the records in it. */
function addNumbers(into: Record<string, unknown>, from: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(from)) {
    if (typeof value === "number") into[name] = (into[name] as number | undefined ?? 0) + value;
    else addNumbers((into[name] ??= {}) as typeof into, value as typeof from);
  }
}
