/**
 * A worker of a group (worker_group.ts), seen from inside: one driver over one port of the shared
 * address, told what to do by messages.
 */
import { errorMessage, NexusError, type SocketAddress } from "../base/mod.ts";
import type { EndpointGroup, Stray } from "../endpoint/mod.ts";
import { openBestPort } from "../io/open_port.ts";
import { openUdpNativePort } from "../io/udp_native_port.ts";
import type { Port, PortStats } from "../l1_link/mod.ts";
import { Driver, type DriverOptions } from "./driver.ts";

/**
 * Handshake messages that a worker hands to the others in one second; more are dropped, and repeated
 * by who sent them. Anybody can send such messages, and the queues between workers have no bound.
 */
const STRAYS_PER_S_MAX = 1000;

/** What the program decides about a worker's driver; port and group are the group's business. */
export type MemberOptions = Omit<DriverOptions, "port" | "group" | "onStray">;

/** What a worker counts. */
export interface MemberCounters {
  /** Open now. */
  sessions: number;
  framesIn: number;
  framesOut: number;
  bytesIn: number;
  bytesOut: number;
  handshakesDone: number;
  handshakesFailed: number;
  packetsLost: number;
  /** Handshake messages given to the worker that they were for. */
  strays: number;
  /** By reason. */
  drops: Record<string, number>;
  port: PortStats;
}

/** Group to worker. Each but `stray` is answered with its id. */
export type MemberCommand =
  | {
    do: "open";
    id: number;
    setup: unknown;
    listen: SocketAddress;
    /** Undefined: the only worker, on whatever port runs here. */
    group: EndpointGroup | undefined;
  }
  | { do: "counters"; id: number }
  | { do: "drain"; id: number; graceMs: number }
  | { do: "close"; id: number }
  | { do: "stray"; stray: Stray };

/** An error on its way between workers: classes do not survive it. */
export interface SentError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** Worker to group. */
export type MemberMessage =
  | { did: "open"; id: number; address: SocketAddress }
  | { did: "counters"; id: number; counters: MemberCounters }
  | { did: "close"; id: number; counters: MemberCounters }
  | { did: "drain"; id: number }
  | { did: "stray"; stray: Stray }
  /** The worker is of no use any more. */
  | { did: "fail"; error: SentError };

interface Scope extends EventTarget {
  onmessage: (event: MessageEvent<MemberCommand>) => void;
  postMessage(message: MemberMessage): void;
}

/**
 * Makes this Worker a member of the group that started it; called once, at the top of the module that
 * the group was given. `make` gets the group's `setup` (a copy) and the worker's index. All members
 * present the same identity. What `make` throws, and any error that nobody catches later, ends the
 * group.
 */
export function serveInGroup<Setup>(
  make: (setup: Setup, index: number) => MemberOptions | Promise<MemberOptions>,
): void {
  const scope = self as unknown as Scope;
  const member = new Member(
    scope,
    (setup, index) => Promise.resolve(make(setup as Setup, index)),
  );
  // An isolate must not end with its port open: the waker would call into it.
  scope.addEventListener("error", (event) => {
    event.preventDefault();
    const { error, message } = event as ErrorEvent;
    member.fail(error ?? message);
  });
  scope.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    member.fail((event as PromiseRejectionEvent).reason);
  });
  scope.onmessage = ({ data }) => {
    member.obey(data).catch((error) => member.fail(error));
  };
}

class Member {
  readonly #scope: Scope;
  readonly #make: (setup: unknown, index: number) => Promise<MemberOptions>;
  #driver?: Driver;
  #failed = false;
  #strays = 0;
  #secondStartUs = 0;
  #straysOfSecond = 0;

  constructor(scope: Scope, make: (setup: unknown, index: number) => Promise<MemberOptions>) {
    this.#scope = scope;
    this.#make = make;
  }

  async obey(command: MemberCommand): Promise<void> {
    if (command.do === "open") {
      const { id, setup, listen, group } = command;
      const options = await this.#make(setup, group?.index ?? 0);
      const port = await openPort(listen, options.vni, group);
      this.#driver = new Driver({
        ...options,
        port,
        group,
        onStray: (stray) => this.#handOver(stray),
      });
      return this.#scope.postMessage({ did: "open", id, address: port.localAddress });
    }
    const driver = this.#driver;
    if (driver === undefined) return; // A stray that came early: its sender repeats it.
    switch (command.do) {
      case "counters":
        return this.#scope.postMessage({
          did: "counters",
          id: command.id,
          counters: this.#count(),
        });
      case "drain":
        await driver.drain(command.graceMs);
        return this.#scope.postMessage({ did: "drain", id: command.id });
      case "close":
        await driver.close(0);
        return this.#scope.postMessage({ did: "close", id: command.id, counters: this.#count() });
      case "stray":
        return driver.receiveStray(command.stray);
    }
  }

  /** Says why, once, with the port closed. */
  async fail(thrown: unknown): Promise<void> {
    if (this.#failed) return;
    this.#failed = true;
    await this.#driver?.close(0);
    this.#scope.postMessage({ did: "fail", error: sentError(thrown) });
  }

  #handOver(stray: Stray): void {
    const nowUs = this.#driver!.clock.nowUs();
    if (nowUs - this.#secondStartUs >= 1_000_000) {
      this.#secondStartUs = nowUs;
      this.#straysOfSecond = 0;
    }
    if (this.#straysOfSecond >= STRAYS_PER_S_MAX) {
      return this.#driver!.endpoint.counters.drop("stray_limit");
    }
    this.#straysOfSecond++;
    this.#strays++;
    this.#scope.postMessage({ did: "stray", stray });
  }

  #count(): MemberCounters {
    const { endpoint, port, sessions, packetsLost } = this.#driver!;
    const { drops, ...counters } = endpoint.counters;
    return {
      sessions: [...sessions].length,
      framesIn: counters.framesIn,
      framesOut: counters.framesOut,
      bytesIn: counters.bytesIn,
      bytesOut: counters.bytesOut,
      handshakesDone: counters.handshakesDone,
      handshakesFailed: counters.handshakesFailed,
      packetsLost,
      strays: this.#strays,
      drops: Object.fromEntries(drops),
      port: port.stats(),
    };
  }
}

async function openPort(
  listen: SocketAddress,
  vni: number,
  group: EndpointGroup | undefined,
): Promise<Port> {
  if (group !== undefined) return await openUdpNativePort({ listen, vni, trains: true, group });
  return (await openBestPort({ kind: "auto", listen, vni })).port;
}

function sentError(thrown: unknown): SentError {
  if (thrown instanceof NexusError) {
    const { code, message, hint } = thrown;
    return { code, message, hint };
  }
  return { code: "WORKER_FAILED", message: `worker failed: ${errorMessage(thrown)}` };
}
