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
import { widthOf, wrapWords } from "../output/wrap.ts";
import { formatCandidates } from "../route/candidates.ts";
import type { RunningNode } from "./local_mesh.ts";
import { rowsOf } from "./verdict.ts";

const INDENT = "   ";
/** Where the terminal does not say, and off one: the story is to be read, not parsed. */
const WIDTH_DEFAULT = 80;

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
  readonly #width: number;
  #step = 0;
  /** Of the answer: characters in its line so far, and a word whose end has not come. */
  #column = 0;
  #word = "";

  /** `sanitize` makes the answer's text safe for where it goes; lines keep to `width`. */
  constructor(
    write: (text: string) => void,
    paint: Paint,
    sanitize: (text: string) => string,
    width = WIDTH_DEFAULT,
  ) {
    this.#write = write;
    this.#paint = paint;
    this.#print = sanitize;
    this.#width = width;
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
    const number = String(++this.#step);
    this.#write(`\n${cyan(number)}  ${this.#wrapped(text).map(bold).join("\n" + INDENT)}\n`);
  }

  /** A line below a headline. */
  line(text: string): void {
    for (const each of this.#wrapped(text)) this.#write(`${INDENT}${each}\n`);
  }

  /** A node serves. */
  nodeUp({ node, ready, pid, startMs }: RunningNode): void {
    const { green, dim } = this.#paint;
    const models = node.models.map((model) => String(model.name)).join(", ");
    const what = `${node.name}  ${shortId(ready.nodeId)}  udp ${ready.link[0]}  ${models}`;
    const times = `process ${pid}, up in ${formatMs(startMs)}`;
    const inOneLine = widthOf(`${INDENT}✓ ${what}  ${times}`) <= this.#width;
    const between = inOneLine ? "  " : `\n${INDENT}  `;
    this.#write(`${INDENT}${green("✓")} ${what}${between}${dim(times)}\n`);
  }

  /** The invite, shortened: it is a secret, if a short-lived one. */
  invite(token: string, uses: number): void {
    const { dim } = this.#paint;
    const short = `${token.slice(0, 14)}…${token.slice(-4)}`;
    this.#write(dim(`${INDENT}  its invite ${short} admits ${uses} newcomers`) + "\n");
  }

  /** Every candidate. */
  candidates(resolution: Resolution, nameOf: (nodeId: string) => string | undefined): void {
    this.#write(
      formatCandidates(rowsOf(resolution, nameOf), this.#options),
    );
    const { weights } = resolution;
    const words = Object.entries(weights).map(([name, weight]) => `${name} ${weight.toFixed(2)}`);
    const score = this.#wrapped(`score = weighted sum of the terms: ${words.join(", ")}`);
    for (const each of score) this.#write(INDENT + this.#paint.dim(each) + "\n");
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
    ], this.#options));
  }

  /** Answer text as it arrives, indented; a word is held back until it is whole. */
  text(chunk: string): void {
    let out = "";
    for (const piece of this.#print(chunk).split(/(\s)/)) {
      if (piece.trim() !== "") this.#word += piece;
      else if (piece === "\n") {
        out += this.#wordOut() + "\n";
        this.#column = 0;
      } else if (piece !== "") {
        out += this.#wordOut();
        this.#word = piece; // Blanks belong to the word behind them: at a line's end both go.
      }
    }
    this.#write(out);
  }

  /** Ends the answer's last line. */
  endText(): void {
    this.#write(this.#wordOut() + (this.#column > 0 ? "\n" : ""));
    this.#column = 0;
  }

  /** What is held back, on a line of its own when this one has no room for it. */
  #wordOut(): string {
    const word = this.#word;
    this.#word = "";
    if (word === "") return "";
    const isNew = this.#column === 0;
    const fits = INDENT.length + this.#column + widthOf(word) <= this.#width;
    const text = fits || isNew ? word : word.trimStart();
    if (text === "") return "";
    this.#column = (fits ? this.#column : 0) + widthOf(text);
    return (isNew ? INDENT : fits ? "" : "\n" + INDENT) + text;
  }

  /** Text in lines that leave room for the indent. */
  #wrapped(text: string): string[] {
    return wrapWords(text, this.#width - INDENT.length);
  }

  get #options() {
    return { indent: INDENT, paint: this.#paint, width: this.#width };
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
    ], this.#options));
  }
}
