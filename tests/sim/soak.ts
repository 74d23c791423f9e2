/**
 * The soak: one seed, one random network, configuration and workload. Whatever the network does,
 * ordered bytes and messages arrive once and whole, best-effort messages at most once, memory
 * stays within its limits, everything drains when the network heals, and in the end both forget.
 */
import assert from "node:assert/strict";
import type { SeededRandom } from "../../lib/base/mod.ts";
import {
  BLOCK_BYTES,
  CONGESTION_NAMES,
  MODE_BEST_EFFORT,
  MODE_PROBABILISTIC,
  MODE_RELIABLE_ORDERED,
  MODE_RELIABLE_UNORDERED,
  STREAM_CONFIG_DEFAULT,
  type StreamConfig,
} from "../../lib/l3_stream/mod.ts";
import type { Link } from "./link.ts";
import { type SimNetwork, simulate } from "./network.ts";
import { CLIENT, connectionEnds, endpointEnds, SERVER, type SoakEnd } from "./soak_ends.ts";
import { checkArrived, type Task } from "./tasks.ts";
import { changeableWeather } from "./weather.ts";

/** The weather ends within this. */
const HEALS_WITHIN_US = 15e6;
/** After it everything drains within this. */
const DRAINS_WITHIN_US = 300e6;
/** A connection whose peer is gone has given up after this: ten backed-off probes, or idle. */
const GIVES_UP_WITHIN_US = 700e6;
/** A goodbye, even one whose every packet is lost, is over after this. */
const FORGETS_WITHIN_US = 150e6;
/** Handshake and parameters must outlast the weather. */
const CONNECT_MS = 60_000;
/** Events between two looks at the memory. */
const MEMORY_EVERY = 64;
/** Best-effort messages that wait unread (docs/protocol.md §5.3), each at most a frame. */
const BEST_EFFORT_BYTES_MAX = 1_024 * 9_000;
/** Handshakes are costly: so many seeds run whole endpoints. */
const ENDPOINT_SHARE = 0.1;
/** So many sit behind a NAT that rebinds, and so many open further paths. */
const REBIND_SHARE = 0.15;
const PATHS_SHARE = 0.2;
/** So many seeds have much to do, the others little: most bugs need few packets, some need many. */
const BUSY_SHARE = 0.1;

/** What a seed did, for the summary. */
export interface SoakResult {
  readonly streams: number;
  readonly bytes: number;
  readonly packets: number;
  readonly lost: number;
  readonly migrations: number;
  readonly pathsUsed: number;
  readonly events: number;
  readonly virtualUs: number;
}

/** How a run ends. */
type Fate = "drains" | "closes early" | "peer vanishes";

/** Runs one seed; whatever is wrong is thrown, with seed, replay line and trace. */
export function soak(seed: number): SoakResult {
  const replay = `deno task sim --seeds 1 --from ${seed}`;
  return simulate(seed, replay, (network) => new Soak(network).run());
}

class Soak {
  readonly #random: SeededRandom;
  readonly #ends: [SoakEnd, SoakEnd];
  readonly #healsUs: number;
  readonly #fate: Fate;
  readonly #links: readonly Link[];
  readonly #rebinds: boolean;
  #streams = 0;
  #turns = 0;

  constructor(readonly network: SimNetwork) {
    const random = this.#random = network.random("workload");
    this.#fate = random.chance(0.85)
      ? "drains"
      : random.chance(0.5)
      ? "closes early"
      : "peer vanishes";
    this.#healsUs = changeableWeather(network, CLIENT, SERVER, HEALS_WITHIN_US);
    this.#links = [network.linkBetween(CLIENT, SERVER), network.linkBetween(SERVER, CLIENT)];
    const congestion = CONGESTION_NAMES[random.below(CONGESTION_NAMES.length)];
    this.#rebinds = random.chance(REBIND_SHARE);
    // Behind a NAT that rebinds an end must speak now and then, or nobody finds it again.
    const keepAliveMs = this.#rebinds ? 1_000 + random.below(2_000) : undefined;
    const config = () => ({
      ...randomConfig(random, congestion),
      ...keepAliveMs && { keepAliveMs },
    });
    this.#ends = random.chance(ENDPOINT_SHARE)
      ? endpointEnds(network, config, CONNECT_MS * 1_000)
      : connectionEnds(network, config, [1_200, 1_464, 1_984, 9_000][random.below(4)]);
    network.note("soak", `${congestion}, ${this.#fate}`);
  }

  run(): SoakResult {
    const { network } = this;
    this.#run(() => this.#ends.every(({ tasks }) => tasks !== undefined));
    for (const end of this.#ends) this.#giveWork(end);
    if (this.#rebinds) this.#rebind();
    if (this.#random.chance(PATHS_SHARE)) this.#openPaths();
    if (this.#fate === "drains") this.#drain();
    else if (this.#fate === "closes early") this.#closeEarly();
    else this.#vanish();
    for (const end of this.#ends) {
      assert.ok(end.isForgotten, `${end.name} has not forgotten the connection`);
      assert.equal(end.tasks!.closed.length, 1, `${end.name}: "closed" events`);
    }
    const runners = this.#ends.map(({ tasks }) => tasks!);
    return {
      streams: this.#streams,
      bytes: sum(runners.flatMap(({ incoming }) => [...incoming.values()].map((i) => i.bytes))),
      packets: this.#packets,
      lost: sum(this.#links.map(({ counts: { dropped, corrupted } }) => dropped + corrupted)),
      migrations: sum(runners.map(({ migrations }) => migrations)),
      pathsUsed: sum(runners.map(({ pathsUsed }) => pathsUsed)),
      events: network.events,
      virtualUs: network.nowUs,
    };
  }

  get #packets(): number {
    return sum(this.#links.map(({ counts }) => counts.sent));
  }

  // ---- work -------------------------------------------------------------------------------

  #giveWork(end: SoakEnd): void {
    const { network } = this;
    const random = this.#random;
    const tasks = end.tasks!;
    tasks.refuses = () => random.chance(0.05);
    tasks.quitsAfter = () => random.chance(0.05) ? 1 + random.below(5) : Infinity;
    tasks.replies = () =>
      random.chance(0.2)
        ? {
          total: 1 + random.below(40),
          resetAt: random.chance(0.1) ? random.below(40) : undefined,
        }
        : undefined;
    if (random.chance(0.2)) this.#readSlowly(end, 1_000 + random.below(50_000));
    const isBusy = random.chance(BUSY_SHARE);
    const list = Array.from(
      { length: 1 + random.below(isBusy ? 80 : 12) },
      () => randomTask(random, isBusy ? 8 : 1),
    );
    this.#streams += list.length;
    // Not all at once: some streams begin while others end.
    list.forEach((task, i) =>
      network.at(network.nowUs + i * random.below(200_000), () => {
        tasks.add(task);
        end.kick();
      })
    );
  }

  #readSlowly(end: SoakEnd, everyUs: number): void {
    const { network } = this;
    const tasks = end.tasks!;
    tasks.isSlow = true;
    const read = () => {
      if (tasks.closed.length > 0) return;
      if (tasks.hasUnread) {
        tasks.readSome();
        end.kick();
      }
      network.at(network.nowUs + everyUs, read);
    };
    read();
  }

  /** The client's NAT gives it another port, or another address, a few times. */
  #rebind(): void {
    const { network } = this;
    const random = this.#random;
    for (let i = 1 + random.below(4); i > 0; i--) {
      const visible = `192.0.2.${random.below(3)}:${40_000 + i}`;
      const atUs = Math.max(network.nowUs, random.below(this.#healsUs + 1));
      network.at(atUs, () => network.rebind(CLIENT, visible));
    }
  }

  /** Somebody opens further paths, and may close them again. */
  #openPaths(): void {
    const { network } = this;
    const random = this.#random;
    for (let i = 1 + random.below(5); i > 0; i--) {
      const end = this.#ends[random.below(2)];
      const atUs = network.nowUs + random.below(5e6);
      network.at(atUs, () => end.openPath());
      if (random.chance(0.7)) continue;
      network.at(atUs + random.below(2e6), () => {
        const { connection } = end.tasks!;
        const [, further] = connection.pathStats();
        if (further !== undefined) connection.closePath(further.id);
        end.kick();
      });
    }
  }

  // ---- ends -------------------------------------------------------------------------------

  #drain(): void {
    const { network } = this;
    const [client, server] = this.#ends;
    this.#run(() => this.#ends.every(({ tasks }) => tasks!.streamsClosed >= this.#streams));
    checkArrived(client.tasks!, server.tasks!);
    checkArrived(server.tasks!, client.tasks!);
    network.run(Math.max(network.nowUs, this.#healsUs) + 30e6);
    const before = this.#packets;
    network.run(network.nowUs + 10e6);
    // At most keep-alives of both ends, once a second: PING, PONG, and an acknowledgement each.
    assert.ok(this.#packets - before <= 80, `${this.#packets - before} packets while idle`);
    for (const { name, tasks } of this.#ends) {
      const { sendBytes, receiveBytes } = tasks!.connection.memory();
      assert.equal(tasks!.connection.openStreamCount, 0, `${name}: open streams`);
      assert.equal(sendBytes + receiveBytes, 0, `${name}: bytes held when all is done`);
    }
    this.#close();
  }

  /** One end says goodbye in the middle; what arrived until then was right. */
  #closeEarly(): void {
    const { network } = this;
    this.#run(() => false, network.nowUs + this.#random.below(3e6));
    this.#close();
  }

  /** Somebody closes, now and then both at once. */
  #close(): void {
    const { network } = this;
    const [client, server] = this.#ends;
    const who = this.#random.below(5);
    if (who !== 0) client.close();
    if (who < 2) server.close();
    network.run(network.nowUs + FORGETS_WITHIN_US);
  }

  /** From some time on nothing arrives any more. */
  #vanish(): void {
    const { network } = this;
    this.#run(() => false, network.nowUs + this.#random.below(3e6));
    for (const [from, to] of [[CLIENT, SERVER], [SERVER, CLIENT]]) {
      network.shareLink(from, to, network.deadLink());
    }
    network.run(network.nowUs + GIVES_UP_WITHIN_US);
    for (const { tasks } of this.#ends) {
      const code = tasks!.closed[0]?.error?.code ?? "none";
      assert.match(code, /^(PEER_UNREACHABLE|(IDLE|CONNECT|HANDSHAKE)_TIMEOUT)$/);
    }
  }

  /** Runs until the condition holds, or to a time; watches memory and that nobody gives up. */
  #run(condition: () => boolean, stopUs = Infinity): void {
    const untilUs = this.#healsUs + DRAINS_WITHIN_US;
    this.network.run(() => {
      if (++this.#turns % MEMORY_EVERY === 0) this.#checkMemory();
      for (const { name, tasks } of this.#ends) {
        const closed = tasks?.closed[0];
        if (closed !== undefined) throw this.network.failure(`${name} closed: ${closed.phrase}`);
      }
      return condition() || this.network.nextEventUs > stopUs;
    }, { untilUs });
  }

  #checkMemory(): void {
    for (const { name, config, tasks } of this.#ends) {
      if (tasks === undefined) continue;
      const { connection } = tasks;
      const { sendBytes, receiveBytes } = connection.memory();
      const streams = connection.openStreamCount;
      // A message longer than the buffer is taken when the buffer is empty.
      const sendMax = streams * Math.max(config.sendBufferBytes, 2 * config.maxMessageBytes);
      const receiveMax = config.maxDataBytes + 2 * streams * BLOCK_BYTES + BEST_EFFORT_BYTES_MAX;
      assert.ok(sendBytes <= sendMax, `${name} holds ${sendBytes} B to send, at most ${sendMax}`);
      assert.ok(
        receiveBytes <= receiveMax,
        `${name} holds ${receiveBytes} B, at most ${receiveMax}`,
      );
    }
  }
}

function randomConfig(
  random: SeededRandom,
  congestion: StreamConfig["congestion"],
): StreamConfig {
  return {
    ...STREAM_CONFIG_DEFAULT,
    congestion,
    connectTimeoutMs: CONNECT_MS,
    maxStreams: 16 + random.below(100),
    maxDataBytes: 65_536 << random.below(6),
    streamWindowBytes: 65_536 << random.below(3),
    streamMessages: 64 << random.below(4),
    maxMessageBytes: 65_536,
    sendBufferBytes: 16_384 << random.below(5),
    maxAckDelayUs: random.chance(0.2) ? random.below(100_000) : STREAM_CONFIG_DEFAULT.maxAckDelayUs,
    keepAliveMs: random.chance(0.1) ? 1_000 + random.below(10_000) : 0,
  };
}

function randomTask(random: SeededRandom, scale: number): Task {
  const priority = random.chance(0.3) ? random.below(16) : undefined;
  const which = random.float();
  const task: Task = which < 0.5
    ? { mode: MODE_RELIABLE_ORDERED, total: random.below(scale * 2 ** random.below(18)), priority }
    : which < 0.8
    ? {
      mode: MODE_RELIABLE_UNORDERED,
      total: random.below(40 * scale),
      messageBytesMax: 2 ** random.below(random.chance(0.2) ? 17 : 14),
      priority,
    }
    : which < 0.9
    ? { mode: MODE_BEST_EFFORT, total: random.below(60 * scale), priority }
    : {
      mode: MODE_PROBABILISTIC,
      total: random.below(60 * scale),
      messageBytesMax: 2 ** random.below(14),
      probability: 0.5 + random.float() * 0.499,
      priority,
    };
  if (random.chance(0.1)) task.resetAt = random.below(task.total + 1);
  return task;
}

function sum(numbers: number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
