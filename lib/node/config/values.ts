/**
 * Value types of the config: text in the file, checked and typed in the program. Words that the
 * routing layer defines (capabilities, regions, costs …) are read by its own SAD parser, so that
 * config, command line and wire cannot disagree.
 */
import { z } from "zod";
import {
  clip,
  errorMessage,
  parseNodeId,
  parseSocketAddress,
  type SocketAddress,
} from "../../base/mod.ts";
import { CAPABILITIES, parseCapabilities, parseSad, type Sad } from "../../l2_route/mod.ts";
import { suggest } from "./suggest.ts";

/** Default UDP port of the mesh (IANA-unassigned, docs/protocol.md §1). */
export const LINK_PORT = 6477;
/** Default port of the admin API. */
export const ADMIN_PORT = 6478;
/** Default port of the OpenAI bridge. */
export const BRIDGE_PORT = 6479;

/** Of a value that is repeated in a mistake. */
const VALUE_CHARS_MAX = 40;

/** Runs a parser of ours inside zod; what it throws becomes the mistake. */
function parsed<T>(parse: (text: string) => T, expected?: string) {
  return z.string().transform((text, context): T => {
    try {
      return parse(text);
    } catch (thrown) {
      const message = expected === undefined
        ? errorMessage(thrown).replace(/^cannot [^:]*: /, "")
        : `is ${JSON.stringify(clip(text, VALUE_CHARS_MAX))}, expected ${expected}`;
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    }
  });
}

/** `host:port`, `[ipv6]:port`, or a host alone when a default port is given. */
export function address(portDefault?: number) {
  return parsed(
    (text): SocketAddress => parseSocketAddress(text, portDefault),
    `host:port or [ipv6]:port${portDefault === undefined ? "" : `, port ${portDefault} if none`}`,
  );
}

/** Where to listen: an address, or a port number alone, which is that port of `hostDefault`. */
export function listenAddress(hostDefault: string, portDefault: number) {
  return z.union([
    address(portDefault),
    z.int().min(0).max(65535).transform((port): SocketAddress => ({ host: hostDefault, port })),
  ]);
}

/** A node to meet first: an address, and its id when it must be that node. */
export interface Seed {
  readonly address: SocketAddress;
  readonly nodeId?: Uint8Array;
}

/** `host:port` or `<node id>@host:port`. */
export const seed = parsed((text): Seed => {
  const at = text.indexOf("@");
  const where = parseSocketAddress(text.slice(at + 1), LINK_PORT);
  return at < 0 ? { address: where } : { address: where, nodeId: parseNodeId(text.slice(0, at)) };
}, "host:port or <node id>@host:port");

/** Capability words as a list or joined by "+", as the bits of a SAD. */
export const capabilities = z.union([z.string(), z.array(z.string()).max(32)])
  .transform((value, context): number => {
    const words = (Array.isArray(value) ? value : value.split("+")).map((word) => word.trim());
    let bits = 0;
    for (const word of words) {
      try {
        bits |= parseCapabilities(word);
      } catch {
        const guess = suggest(word, CAPABILITIES);
        context.addIssue({
          code: "custom",
          message: `capability ${JSON.stringify(clip(word, VALUE_CHARS_MAX))} is unknown, ` +
            (guess === undefined
              ? `expected one of ${CAPABILITIES.join(", ")}`
              : `did you mean "${guess}"?`),
        });
        return z.NEVER;
      }
    }
    return bits >>> 0;
  });

/** A whole SAD in text form; kept as text, since it is handed on as a model name. */
export const sadText = parsed((text): string => {
  parseSad(text);
  return text;
});

/** Reads one value through the SAD term that has it. */
function term<T>(prefix: string, pick: (sad: Sad) => T | undefined, expected: string) {
  return parsed((text): T => {
    // A comma would start another term.
    if (/[,|*\s]/.test(text)) throw new Error(expected);
    const value = pick(parseSad(prefix + text));
    if (value === undefined) throw new Error(expected);
    return value;
  }, expected);
}

/** Architecture word as the number of the SAD. */
export const arch = term(
  "arch=",
  (sad) => sad.arch,
  "one of transformer, diffusion, moe, cnn, rnn, rl_agent",
);

/** Country as two letters; the ISO 3166-1 number that goes on the wire. */
export const region = term(
  "region=",
  (sad) => sad.regionPrefer?.[0],
  'a two-letter country code such as "DE"',
);

/** Tokens: a whole number, or text with k such as "128k". */
export const tokens = z.union([
  z.int().min(1).max(0xffffffff),
  term("ctx>=", (sad) => sad.contextMin, 'a number of tokens such as 32768 or "32k"'),
]);

/** Price in millionths of a US dollar, for a request or for 1,000 tokens. */
export interface Cost {
  readonly micros: number;
  readonly per1k: boolean;
}

/** Dollars as the SAD writes them ("$0.002", "$0.002/1k"), or a number of dollars a request. */
export const cost = z.union([
  z.number().min(0).max(2000).transform((dollars): Cost => ({
    micros: Math.round(dollars * 1e6),
    per1k: false,
  })),
  term("cost<", (sad): Cost | undefined => sad.costMax, 'dollars such as "$0.002" or "$0.002/1k"'),
]);
