/**
 * One probabilistic stream over a simulated link, and what to hold it to: the share of messages
 * that arrive, the packets that it costs, and that no symbol is ever sent twice.
 */
import assert from "node:assert/strict";
import type { SeededRandom } from "../../lib/base/mod.ts";
import { CRC_BYTES, SEALED_PAYLOAD_OFFSET } from "../../lib/l1_link/mod.ts";
import { FEC, Frame, MESSAGE, parseFrame } from "../../lib/l3_stream/frames/mod.ts";
import { MODE_PROBABILISTIC, type StreamConfig } from "../../lib/l3_stream/mod.ts";
import { connect, type ConnectionHost } from "./connection_harness.ts";
import type { LinkOptions, SimNetwork } from "./network.ts";

/** Messages of a batch for the error of a share: several blocks. */
const BATCH_MESSAGES = 250;

export interface PrRun {
  link: LinkOptions;
  /** Losses only on the way of the messages unless given. */
  back?: LinkOptions;
  probability: number;
  messages: number;
  messageBytes: (number: number, random: SeededRandom) => number;
  /** Time between two messages; absent: as fast as they are taken. */
  intervalUs?: number;
  config?: Partial<StreamConfig>;
  /** Called with the number of each message that is handed over. */
  onSend?: (number: number) => void;
  /** Called with both ends before anything is sent. */
  prepare?: (client: ConnectionHost, server: ConnectionHost, network: SimNetwork) => void;
}

export interface PrResult {
  delivered: boolean[];
  share: number;
  sources: number;
  repairs: number;
  /** Source symbols of each block that got repairs. */
  blocks: number[];
  /** Repair symbols for each source symbol. */
  overhead: number;
  durationUs: number;
}

/** Runs until the stream is over at both ends. */
export function runPr(network: SimNetwork, run: PrRun): PrResult {
  const back = run.back ?? { ...run.link, lossRate: 0, burst: undefined };
  const { client, server } = connect(network, run.link, {
    back,
    client: run.config,
    server: run.config,
  });
  const random = network.random("messages");
  const symbols = watchSymbols(client);
  const delivered: boolean[] = new Array(run.messages).fill(false);
  server.tasks.takesMessage = (bytes) => {
    const number = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
    assert.equal(delivered[number], false, `message ${number} came twice`);
    for (let i = 4; i < bytes.length; i++) {
      if (bytes[i] !== (number + i & 0xff)) assert.fail(`byte ${i} of message ${number} is wrong`);
    }
    delivered[number] = true;
  };
  run.prepare?.(client, server, network);
  let next = 0;
  let stream = 0;
  let pending: Uint8Array | undefined;
  let beginUs = 0;
  const turn = () => {
    pump();
    network.wake("client");
  };
  const pump = () => {
    const { connection } = client;
    while (next < run.messages) {
      const dueUs = beginUs + next * (run.intervalUs ?? 0);
      if (network.nowUs < dueUs) return network.at(dueUs, turn);
      if (pending === undefined) {
        run.onSend?.(next);
        pending = new Uint8Array(Math.max(4, run.messageBytes(next, random)));
        for (let i = 4; i < pending.length; i++) pending[i] = next + i;
        new DataView(pending.buffer).setUint32(0, next);
      }
      if (!connection.sendMessage(stream, pending)) return;
      pending = undefined;
      next++;
    }
    connection.finish(stream);
  };
  client.onEvent = (event) => {
    if (event.type === "established") {
      beginUs = network.nowUs;
      stream = client.connection.openStream(MODE_PROBABILISTIC, 7, run.probability);
      pump();
    } else if (event.type === "writable" && event.stream === stream) pump();
  };
  const startUs = network.nowUs;
  network.run(() => {
    const closed = [...client.closed, ...server.closed];
    if (closed.length > 0) {
      throw network.failure(`a connection closed: ${JSON.stringify(closed[0])}`);
    }
    return client.connection.openStreamCount + server.connection.openStreamCount === 0 &&
      client.streamsClosed > 0;
  }, { untilUs: 36_000e6, eventsMax: 20_000_000 });
  const count = delivered.filter(Boolean).length;
  return {
    delivered,
    share: count / run.messages,
    ...symbols,
    overhead: symbols.repairs / symbols.sources,
    durationUs: network.nowUs - startUs,
  };
}

/** Watches what a host sends and fails when a symbol goes out a second time. */
function watchSymbols(host: ConnectionHost): Pick<PrResult, "sources" | "repairs" | "blocks"> {
  const seen = { sources: 0, repairs: 0, blocks: new Array<number>() };
  const names = new Set<string>();
  const frame = new Frame();
  host.onSend = (bytes) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const end = bytes.length - CRC_BYTES;
    for (let at = SEALED_PAYLOAD_OFFSET; at < end;) {
      at = parseFrame(bytes, view, at, end, frame);
      assert.ok(at > 0);
      const isSource = frame.type === MESSAGE && frame.mode === MODE_PROBABILISTIC;
      if (!isSource && frame.type !== FEC) continue;
      const name = isSource ? `${frame.symbol}` : `${frame.symbol}+${frame.repair}`;
      assert.ok(!names.has(name), `symbol ${name} was sent twice`);
      names.add(name);
      if (isSource) seen.sources++;
      else seen.repairs++;
      if (!isSource && frame.repair === 0) seen.blocks.push(frame.sourceCount);
    }
  };
  return seen;
}

/**
 * What `share` must not fall below: the asked probability less 3.7 standard errors, which a sender
 * that keeps its promise exactly crosses once in 10,000 runs. The error is that of the means of
 * batches where those spread wider than independent losses: messages of one block fail together.
 */
export function shareLowerBound(probability: number, delivered: readonly boolean[]): number {
  const count = delivered.length;
  const independent = probability * (1 - probability) / count;
  const batches = Math.floor(count / BATCH_MESSAGES);
  const share = delivered.filter(Boolean).length / count;
  let squares = 0;
  for (let i = 0; i < batches; i++) {
    const batch = delivered.slice(i * BATCH_MESSAGES, (i + 1) * BATCH_MESSAGES);
    squares += (batch.filter(Boolean).length / BATCH_MESSAGES - share) ** 2;
  }
  const clustered = squares / Math.max(1, batches * (batches - 1));
  return probability - 3.7 * Math.sqrt(Math.max(independent, clustered)) - 1 / count;
}
