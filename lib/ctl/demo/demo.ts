/**
 * The demo: three node processes on loopback, a client with a key of its own, one question.
 *
 *   alder ── makes the mesh, prints an invite ─▶ birch, cedar and the client join with it
 *   client ── resolves by itself ─▶ handshake with the best node ─▶ tokens, encrypted end to end
 */
import { errorMessage, formatNodeId, NexusError } from "../../base/mod.ts";
import type { Resolution } from "../../l2_route/mod.ts";
import { joinSignals, NexusClient, type RoutedEvent, type Session } from "../../sdk/mod.ts";
import type { Context } from "../context.ts";
import { formatMs, printableLines } from "../output/values.ts";
import { LocalMesh, type RunningNode } from "./local_mesh.ts";
import { DEMO_NODES } from "./nodes.ts";
import { type HandshakeFacts, handshakeFacts, Story, type Summary } from "./story.ts";
import { rowsOf } from "./verdict.ts";

/** What to ask. */
export interface DemoOptions {
  readonly sad: string;
  readonly prompt: string;
}

/** The whole demo takes seconds; a first start may have to fetch and compile its modules. */
const DEMO_MS_MAX = 120_000;
/** While nothing is to be seen, a word every so often. */
const PATIENCE_MS = 5_000;
/** Three nodes on one machine know each other within a fraction of it. */
const ADVERTISED_MS_MAX = 15_000;
/** Of a failed node's log. */
const LOG_LINES_SHOWN = 20;

/** Runs it. Whatever happens, no process and no file is left behind. */
export async function runDemo(context: Context, options: DemoOptions): Promise<void> {
  await context.interruptible(async (interrupt) => {
    const { signal } = joinSignals(interrupt, AbortSignal.timeout(DEMO_MS_MAX));
    const { terminal, isMachine } = context;
    const story = isMachine
      ? new Story((text) => terminal.err(text), context.errPaint, printableLines, context.errWidth)
      : new Story(
        (text) => terminal.out(text),
        context.paint,
        terminal.outIsTerminal ? printableLines : (text) => text,
        context.width,
      );
    const mesh = new LocalMesh(context.handlers.self);
    let client: NexusClient | undefined;
    try {
      story.title();
      const nodes = await startNodes(mesh, story, signal);
      client = await joinClient(nodes, story, signal);
      const result = await ask(client, nodes, options, story, signal);
      if (isMachine) {
        await context.print({
          data: { ...result, nodes: nodes.map(factsOf) },
          table: () => "",
        });
      }
    } catch (thrown) {
      const log = mesh.failureLog.trimEnd();
      if (log !== "" && !interrupt.aborted) {
        for (const line of log.split("\n").slice(-LOG_LINES_SHOWN)) {
          context.note(`  │ ${printableLines(line)}`);
        }
      }
      throw thrown;
    } finally {
      await client?.close().catch(() => {}); // The nodes are ended in any case.
      await mesh.close();
    }
    story.stopped(DEMO_NODES.length);
  });
}

async function startNodes(
  mesh: LocalMesh,
  story: Story,
  signal: AbortSignal,
): Promise<RunningNode[]> {
  story.step("A private mesh of three processes on loopback");
  const patience = setInterval(() => story.line("still starting …"), PATIENCE_MS);
  try {
    const [first, ...others] = DEMO_NODES;
    const alder = await mesh.startFirst(first, signal);
    story.nodeUp(alder);
    const { invite } = alder.ready;
    if (invite === undefined) {
      throw new NexusError("NODE_FAILED", `node ${first.name} printed no invite token`);
    }
    story.invite(invite.token, invite.uses);
    const joined = await Promise.all(others.map(async (node) => {
      const running = await mesh.startNext(node, invite.token, signal);
      story.nodeUp(running);
      return running;
    }));
    return [alder, ...joined];
  } finally {
    clearInterval(patience);
  }
}

async function joinClient(
  nodes: readonly RunningNode[],
  story: Story,
  signal: AbortSignal,
): Promise<NexusClient> {
  story.step("A client with a key of its own joins");
  const startedMs = performance.now();
  const joining = NexusClient.join(nodes[0].ready.invite!.token, {
    name: "demo",
    listen: { host: "127.0.0.1", port: 0 },
  });
  const client = await orAborted(joining, signal);
  try {
    await client.mesh.until(
      () => client.table.nodeCount >= nodes.length,
      joinSignals(signal, AbortSignal.timeout(ADVERTISED_MS_MAX)).signal,
    );
  } catch (thrown) {
    const { nodeCount } = client.table;
    await client.close();
    throw new NexusError(
      "TIMEOUT",
      `cannot go on: ${nodeCount} of ${nodes.length} nodes advertised in time`,
      { cause: thrown },
    );
  }
  const { nodeCount, entryCount } = client.table;
  story.line(
    `client ${formatNodeId(client.identity.nodeId).slice(0, 8)} has its certificate and sees ` +
      `${entryCount} models on ${nodeCount} nodes (${formatMs(performance.now() - startedMs)})`,
  );
  return client;
}

async function ask(
  client: NexusClient,
  nodes: readonly RunningNode[],
  { sad, prompt }: DemoOptions,
  story: Story,
  signal: AbortSignal,
) {
  const nameOf = (nodeId: string) => nodes.find(({ ready }) => ready.nodeId === nodeId)?.node.name;
  let resolution: Resolution | undefined;
  let handshake: HandshakeFacts | undefined;
  let session: Session | undefined;
  let before: Traffic = NO_TRAFFIC;
  story.step(`Who can do  ${sad}`);
  const events = client.events(sad, prompt, {
    signal,
    onTrace(event) {
      if (event.type === "resolution") {
        resolution = event.resolution;
        story.candidates(resolution, nameOf);
      } else if (event.type === "session") {
        session = event.session;
        before = trafficOf(session);
        handshake = handshakeFacts(session, nameOf(session.peerNodeId) ?? "", event.reused);
        story.step(`Handshake with ${handshake.node} at ${handshake.address}, direct`);
        story.handshake(handshake);
        story.step(`Asked  ${prompt}`);
      } else if (event.type === "retry") {
        story.line(`attempt ${event.number} failed: ${event.error.message}`);
      }
    },
  });
  let text = "";
  let end: Extract<RoutedEvent, { type: "end" }> | undefined;
  let firstMs = 0;
  for await (const event of events) {
    if (event.type === "chunk") {
      firstMs ||= performance.now();
      text += event.text;
      story.text(event.text);
    } else if (event.type === "end") end = event;
  }
  const streamS = (performance.now() - firstMs) / 1000;
  story.endText();
  if (end === undefined || session === undefined || handshake === undefined) {
    throw new NexusError("CONNECTION_LOST", "cannot finish: the answer has no end");
  }
  const after = trafficOf(session);
  const tokens = end.usage.completion;
  const summary: Summary = {
    tokens,
    promptTokens: end.usage.prompt,
    finishReason: end.finishReason,
    ttftMs: end.ttftMs,
    tokensPerSecond: tokens > 1 && streamS > 0 ? (tokens - 1) / streamS : undefined,
    latencyMs: end.latencyMs,
    bytesSent: after.bytesSent - before.bytesSent,
    bytesReceived: after.bytesReceived - before.bytesReceived,
    framesSent: after.packetsSent - before.packetsSent,
    framesReceived: after.packetsReceived - before.packetsReceived,
    retransmissions: after.packetsLost - before.packetsLost,
  };
  story.step("Summary");
  story.summary(summary);
  return {
    sad,
    prompt,
    candidates: resolution === undefined ? [] : rowsOf(resolution, nameOf),
    weights: resolution?.weights,
    handshake,
    text,
    summary,
  };
}

function factsOf({ node, ready, pid }: RunningNode) {
  return { name: node.name, nodeId: ready.nodeId, link: ready.link, pid };
}

interface Traffic {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly packetsSent: number;
  readonly packetsReceived: number;
  readonly packetsLost: number;
}

const NO_TRAFFIC: Traffic = {
  bytesSent: 0,
  bytesReceived: 0,
  packetsSent: 0,
  packetsReceived: 0,
  packetsLost: 0,
};

/** Counters of the connection. Every packet is one frame. */
function trafficOf(session: Session): Traffic {
  return session.connection?.stats() ?? NO_TRAFFIC;
}

/** The promise, or CANCELLED when the signal fires first. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return await new Promise((resolve, reject) => {
    const refuse = () =>
      reject(new NexusError("CANCELLED", `cannot go on: ${errorMessage(signal.reason)}`));
    if (signal.aborted) return refuse();
    signal.addEventListener("abort", refuse, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", refuse));
  });
}
