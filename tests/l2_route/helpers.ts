/** What the routing tests share: sample data, arbitraries, and a signer without certificates. */
import fc from "fast-check";
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concat, fromHex, NexusError, toHex, utf8 } from "../../lib/base/mod.ts";
import type {
  AdvertModel,
  AdvertSubject,
  AdvertVerifier,
  ModelEntry,
  Sad,
  Signer,
} from "../../lib/l2_route/mod.ts";
import vectors from "../vectors/route.json" with { type: "json" };

export { vectors };

/** Node id of a small number, ascending with it. */
export function nodeId(n: number): string {
  return n.toString(16).padStart(32, "0");
}

/** An entry that passes the empty SAD, with changes. */
export function entry(n: number, changes: Partial<ModelEntry> = {}): ModelEntry {
  return {
    nodeId: nodeId(n),
    name: "model",
    arch: 1,
    capabilities: 1,
    context: 8192,
    latencyMs: 100,
    cost: 1000,
    per1k: false,
    trust: 1,
    benchmark: 500,
    publisher: nodeId(n),
    region: 276,
    maxConcurrency: 4,
    ...changes,
  };
}

/** A SAD whose byte fields are hex, as the vectors write it. */
export function sadOfJson(json: Record<string, unknown>): Sad {
  const sad: Record<string, unknown> = { ...json };
  for (const name of ["publisher", "custom", "affinity"]) {
    if (typeof sad[name] === "string") sad[name] = fromHex(sad[name] as string);
  }
  return sad as Sad;
}

/** The code of the NexusError that `run` throws; anything else thrown is passed on. */
export function codeOf(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof NexusError) return error.code;
    throw error;
  }
  return undefined;
}

/** Model names and patterns of the wire, odd characters included. */
export const arbitraryName = fc.oneof(
  fc.constantFrom("llama-3-70b", "a,b", "100%", " x ", "\ufeffm", "ü", "k=v", "a|b"),
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }),
).filter((name) =>
  // deno-lint-ignore no-control-regex
  name.isWellFormed() && !/[\x00-\x1f\x7f-\x9f*]/.test(name) && utf8(name).length <= 127
);

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const regions = fc.uniqueArray(fc.integer({ min: 0, max: 0xffff }), { minLength: 1, maxLength: 9 })
  .map((list) => list.sort((a, b) => a - b));

/** Any SAD in the form that decoding yields. */
export const arbitrarySad: fc.Arbitrary<Sad> = fc.record({
  arch: fc.integer({ min: 1, max: 6 }),
  capabilities: fc.integer({ min: 1, max: 0x7ff }),
  contextMin: u32,
  latencyMsMax: u32,
  costMax: fc.record({ micros: fc.integer({ min: 0, max: 0x7fffffff }), per1k: fc.boolean() }),
  trustMin: fc.integer({ min: 0, max: 4 }),
  regionPrefer: regions,
  regionExclude: regions,
  publisher: bytes(16),
  benchmarkMin: u32,
  custom: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  model: fc.tuple(arbitraryName, fc.constantFrom("", "*")).map((parts) => parts.join("")),
  affinity: bytes(8),
  options: fc.integer({ min: 1, max: 3 }),
}, { requiredKeys: [] });

/** Valid bytes with a few bytes changed, inserted, removed or cut off. */
export function arbitraryMutation(valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const edit = fc.tuple(fc.constantFrom("set", "insert", "remove", "cut"), fc.nat(), fc.nat(255));
  return fc.tuple(valid, fc.array(edit, { minLength: 1, maxLength: 4 })).map(([start, edits]) => {
    let out = Array.from(start);
    for (const [kind, position, byte] of edits) {
      const at = out.length === 0 ? 0 : position % out.length;
      if (kind === "set" && out.length > 0) out[at] = byte;
      else if (kind === "insert") out.splice(at, 0, byte);
      else if (kind === "remove") out.splice(at, 1);
      else out = out.slice(0, at);
    }
    return Uint8Array.from(out);
  });
}

/** A node for tests: a real Ed25519 key; its "chain" is one certificate that is the public key. */
export class TestNode implements Signer {
  readonly seed: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly nodeId: Uint8Array;
  readonly chain: Uint8Array;

  constructor(n: number) {
    this.seed = new Uint8Array(32).fill(n);
    this.publicKey = ed25519.getPublicKey(this.seed);
    this.nodeId = sha256(this.publicKey).slice(0, 16);
    this.chain = concat(Uint8Array.of(1, 0, 32), this.publicKey);
  }
  get id(): string {
    return toHex(this.nodeId);
  }
  sign(context: string, content: Uint8Array): Uint8Array {
    return ed25519.sign(concat(utf8(context), Uint8Array.of(0), content), this.seed);
  }
}

/** Believes every key; counts how often it was asked. */
export class TestVerifier implements AdvertVerifier {
  calls = 0;

  constructor(readonly subject: Partial<AdvertSubject> = {}) {}

  verify(chain: Uint8Array, context: string, content: Uint8Array, signature: Uint8Array) {
    this.calls++;
    const publicKey = chain.subarray(3);
    const message = concat(utf8(context), Uint8Array.of(0), content);
    if (publicKey.length !== 32 || !ed25519.verify(signature, message, publicKey)) {
      throw new NexusError("BAD_SIGNATURE", "cannot verify: signature does not match");
    }
    return { nodeId: sha256(publicKey).slice(0, 16), role: 1, ...this.subject };
  }
}

/** A model to advertise. */
export function advertModel(name: string, changes: Partial<AdvertModel> = {}): AdvertModel {
  const { nodeId: _node, region: _region, publisher: _publisher, ...model } = entry(1);
  return { ...model, name, ...changes };
}
