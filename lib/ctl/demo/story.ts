/** What the demo prints: the steps, each with its facts. */
import { formatNodeId, formatSocketAddress, toHex } from "../../base/mod.ts";
import { nodeEngine } from "../../io/crypto.ts";
import { formatCapabilities, type Resolution } from "../../l2_route/mod.ts";
import { fingerprintOf, SUITE_AES_256_GCM } from "../../l4_trust/mod.ts";
import type { Session } from "../../sdk/mod.ts";
import type { Paint } from "../output/paint.ts";
import { formatFields } from "../output/table.ts";
import {
  formatBytes,
  formatMs,
  formatTime,
  formatTokens,
  printable,
  shortId,
} from "../output/values.ts";
import { formatCandidates } from "../route/candidates.ts";
import type { RunningNode } from "./local_mesh.ts";
import { rowsOf } from "./verdict.ts";

const INDENT = "   ";

/** Facts of the handshake with the answering node. */
export interface HandshakeFacts {
  readonly node: string;
  readonly nodeId: string;
  readonly address: string;
  readonly durationMs: number;
  readonly reused: boolean;
  readonly suite: string;
  readonly certificate: {
    readonly subject: string;
    readonly issuer: string;
    readonly caFingerprint: string;
    readonly role: string;
    readonly vni?: number;
    readonly capabilities: string;
    readonly context?: number;
    readonly models: readonly string[];
    readonly notBeforeS: number;
    readonly notAfterS: number;
    readonly chainLength: number;
  };
}

/** Facts of the whole run. */
export interface Summary {
  readonly tokens: number;
  readonly promptTokens: number;
  readonly finishReason: string;
  readonly ttftMs?: number;
  readonly tokensPerSecond?: number;
  readonly latencyMs: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly framesSent: number;
  readonly framesReceived: number;
  readonly retransmissions: number;
}

/** Reads the facts off a session. */
export function handshakeFacts(session: Session, name: string, reused: boolean): HandshakeFacts {
  const { handshake } = session;
  const { leaf, chain } = handshake.peerMic;
  const root = chain[chain.length - 1];
  return {
    node: name,
    nodeId: session.peerNodeId,
    address: formatSocketAddress(session.address),
    durationMs: handshake.durationUs / 1000,
    reused,
    suite: suiteName(handshake.suite),
    certificate: {
      subject: formatNodeId(leaf.nodeId),
      issuer: formatNodeId(leaf.issuerNodeId),
      caFingerprint: toHex(fingerprintOf(root.publicKey, nodeEngine)),
      role: leaf.extensions.role ?? "unknown",
      vni: leaf.extensions.tenant,
      capabilities: formatCapabilities(leaf.claims.capabilities ?? 0),
      context: leaf.claims.contextWindow,
      models: leaf.claims.modelNames ?? [],
      notBeforeS: leaf.notBefore,
      notAfterS: leaf.notAfter,
      chainLength: chain.length,
    },
  };
}

function suiteName(suite: number): string {
  const aead = suite === SUITE_AES_256_GCM ? "AES-256-GCM" : "ChaCha20-Poly1305";
  return `X25519, Ed25519, ${aead}, SHA-256 (0x${suite.toString(16).padStart(4, "0")})`;
}

/** Writes the story; `write` takes text for standard output (or error, when JSON is asked for). */
export class Story {
  readonly #write: (text: string) => void;
  readonly #paint: Paint;
  readonly #print: (text: string) => string;
  #step = 0;
  #lineStart = true;

  /** `sanitize` makes the answer's text safe for where it goes. */
  constructor(
    write: (text: string) => void,
    paint: Paint,
    sanitize: (text: string) => string,
  ) {
    this.#write = write;
    this.#paint = paint;
    this.#print = sanitize;
  }

  /** The first line. */
  title(): void {
    const { bold } = this.#paint;
    this.#write(bold("Nexus: three nodes, one question, an encrypted answer") + "\n");
  }

  /** The last line: processes and files are gone. */
  stopped(nodes: number): void {
    const { green, dim } = this.#paint;
    this.#write(`\n${green("✓")} ${dim(`${nodes} nodes stopped, nothing left behind`)}\n`);
  }

  /** A numbered headline. */
  step(text: string): void {
    const { bold, cyan } = this.#paint;
    this.#write(`\n${cyan(String(++this.#step))}  ${bold(text)}\n`);
  }

  /** A line below a headline. */
  line(text: string): void {
    this.#write(`${INDENT}${text}\n`);
  }

  /** A node serves. */
  nodeUp({ node, ready, pid, startMs }: RunningNode): void {
    const { green, dim } = this.#paint;
    const models = node.models.map((model) => String(model.name)).join(", ");
    this.line(
      `${green("✓")} ${node.name}  ${shortId(ready.nodeId)}  udp ${ready.link[0]}  ${models}` +
        dim(`  process ${pid}, up in ${formatMs(startMs)}`),
    );
  }

  /** The invite, shortened: it is a secret, if a short-lived one. */
  invite(token: string, uses: number): void {
    const { dim } = this.#paint;
    this.line(
      dim(`  its invite ${token.slice(0, 14)}…${token.slice(-4)} admits ${uses} newcomers`),
    );
  }

  /** Every candidate. */
  candidates(resolution: Resolution, nameOf: (nodeId: string) => string | undefined): void {
    this.#write(
      formatCandidates(rowsOf(resolution, nameOf), { indent: INDENT, paint: this.#paint }),
    );
    const { weights } = resolution;
    const words = Object.entries(weights).map(([name, weight]) => `${name} ${weight.toFixed(2)}`);
    this.line(this.#paint.dim(`score = weighted sum of the terms: ${words.join(", ")}`));
  }

  /** Time, suite, certificate. */
  handshake({ durationMs, reused, suite, certificate }: HandshakeFacts): void {
    const { subject, issuer, caFingerprint, role, vni, capabilities, context } = certificate;
    this.#write(formatFields([
      ["time", reused ? "the connection stood already" : formatMs(durationMs)],
      ["suite", suite],
      ["certificate", `of node ${subject}`],
      [
        "issued by",
        `${issuer}, mesh CA ${caFingerprint.slice(0, 16)}…, chain of ` +
        `${certificate.chainLength}`,
      ],
      [
        "says",
        [
          `role ${role}`,
          vni === undefined ? "" : `tenant ${vni}`,
          capabilities,
          context === undefined ? "" : `context ${formatTokens(context)}`,
          certificate.models.join(" "),
        ].filter((part) => part !== "").join(", "),
      ],
      ["valid", `${formatTime(certificate.notBeforeS)} to ${formatTime(certificate.notAfterS)}`],
      [
        "checked",
        "signatures up to the CA of the invite, dates, tenant, node id, proof of the key",
      ],
    ], { indent: INDENT, paint: this.#paint }));
  }

  /** Answer text as it arrives, indented. */
  text(chunk: string): void {
    let out = "";
    for (const char of this.#print(chunk)) {
      if (this.#lineStart && char !== "\n") out += INDENT;
      this.#lineStart = char === "\n";
      out += char;
    }
    this.#write(out);
  }

  /** Ends the answer's last line. */
  endText(): void {
    if (!this.#lineStart) this.#write("\n");
    this.#lineStart = true;
  }

  /** Numbers at the end. */
  summary(summary: Summary): void {
    const { ttftMs, tokensPerSecond } = summary;
    this.#write(formatFields([
      [
        "tokens",
        `${summary.tokens} (prompt ${summary.promptTokens}), ended by ` +
        printable(summary.finishReason),
      ],
      ["first token", ttftMs === undefined ? undefined : formatMs(ttftMs)],
      [
        "speed",
        tokensPerSecond === undefined ? undefined : `${tokensPerSecond.toFixed(0)} tokens/s`,
      ],
      ["all in all", formatMs(summary.latencyMs)],
      [
        "network",
        `${formatBytes(summary.bytesSent)} sent in ${summary.framesSent} frames, ` +
        `${formatBytes(summary.bytesReceived)} received in ${summary.framesReceived}`,
      ],
      ["retransmissions", String(summary.retransmissions)],
    ], { indent: INDENT, paint: this.#paint }));
  }
}
