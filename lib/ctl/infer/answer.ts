/** The events of an inference: gathered into one record, and in words for --verbose. */
import { NexusError } from "../../base/mod.ts";
import type { InferEvent } from "../../admin_api/mod.ts";
import type { Paint } from "../output/paint.ts";
import { formatBytes, formatMs, printable, shortId } from "../output/values.ts";
import { formatCandidates } from "../route/candidates.ts";

type Of<T extends InferEvent["type"]> = Omit<Extract<InferEvent, { type: T }>, "type">;

/** What `-o json` prints. */
export interface Answer extends Of<"end"> {
  readonly text: string;
  readonly resolution?: Of<"resolution">;
  readonly attempts: readonly Of<"attempt">[];
  readonly retries: readonly Of<"retry">[];
  /** Of the attempt that answered; missing when the node itself did. */
  readonly handshake?: Of<"handshake">;
}

/** Takes events in order. */
export class AnswerRecord {
  #text = "";
  #resolution?: Of<"resolution">;
  readonly #attempts: Of<"attempt">[] = [];
  readonly #retries: Of<"retry">[] = [];
  #handshake?: Of<"handshake">;
  #end?: Of<"end">;

  /** Throws what an error event says. */
  take({ type, ...event }: InferEvent): void {
    switch (type) {
      case "resolution":
        this.#resolution = event as Of<"resolution">;
        return;
      case "attempt":
        this.#attempts.push(event as Of<"attempt">);
        this.#handshake = undefined;
        return;
      case "handshake":
        this.#handshake = event as Of<"handshake">;
        return;
      case "retry":
        this.#retries.push(event as Of<"retry">);
        return;
      case "start":
        return;
      case "chunk":
        this.#text += (event as Of<"chunk">).text;
        return;
      case "end":
        this.#end = event as Of<"end">;
        return;
      case "error": {
        const { code, message, hint } = event as Of<"error">;
        throw new NexusError(code, printable(message), { hint: hint && printable(hint) });
      }
    }
  }

  /** The whole answer; CONNECTION_LOST when its end never came. */
  whole(): Answer {
    if (this.#end === undefined) {
      throw new NexusError(
        "CONNECTION_LOST",
        "cannot finish answer: the node closed the connection before the end",
      );
    }
    return {
      text: this.#text,
      ...this.#end,
      resolution: this.#resolution,
      attempts: this.#attempts,
      retries: this.#retries,
      handshake: this.#handshake,
    };
  }
}

/** Lines on an event for people; empty for those that speak for themselves. */
export function describeEvent(event: InferEvent, paint: Paint, width?: number): string {
  switch (event.type) {
    case "resolution":
      return `${paint.dim("asked")}  ${printable(event.sad)}\n` +
        formatCandidates(event.candidates, { paint, width });
    case "attempt": {
      const where = event.local ? "this node" : event.address ?? "";
      const name = printable(event.nodeName ?? shortId(event.nodeId));
      return `${paint.dim("attempt")}  ${event.number}: ${printable(event.model)} on ${name} ` +
        `(${where})\n`;
    }
    case "handshake": {
      const { certificate } = event;
      const time = event.reused
        ? "connection stood already"
        : `handshake in ${formatMs(event.durationMs)}`;
      return `${paint.dim("secured")}  ${time}, ${printable(event.suite)}; ` +
        `certificate of ${certificate.nodeId}, role ${certificate.role}, ` +
        `chain of ${event.chainLength}\n`;
    }
    case "retry":
      return `${paint.yellow("retry")}  attempt ${event.number} failed: ` +
        `${printable(event.message)} (${event.code})\n`;
    case "end": {
      const { usage, network } = event;
      const parts = [
        `${usage.completionTokens} tokens`,
        event.ttftMs === undefined ? "" : `first after ${formatMs(event.ttftMs)}`,
        `${formatMs(event.latencyMs)} in all`,
        network === undefined ? "" : `${formatBytes(network.bytesSent)} sent, ` +
          `${formatBytes(network.bytesReceived)} received, ` +
          `${network.retransmissions} retransmissions`,
        event.finishReason,
      ];
      return `\n${paint.dim("done")}  ${parts.filter((part) => part !== "").join(", ")}\n`;
    }
    default:
      return "";
  }
}
