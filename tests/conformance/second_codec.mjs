/**
 * What a client of the Nexus wire protocol reads and writes: frames, certificates, invites, SADs,
 * advertisements and NexBuf bodies. Written from docs/protocol.md alone, nothing is from lib/.
 */
import { Buffer } from "node:buffer";
import crypto from "node:crypto";

// ---------------------------------------------------------------- bytes

export const EMPTY = Buffer.alloc(0);
export const cat = (...parts) => Buffer.concat(parts);
export const u8 = (v) => Buffer.from([v]);
export const u16 = (v) => ((b) => (b.writeUInt16BE(v), b))(Buffer.alloc(2));
export const u24 = (v) => ((b) => (b.writeUIntBE(v, 0, 3), b))(Buffer.alloc(3));
export const u32 = (v) => ((b) => (b.writeUInt32BE(v), b))(Buffer.alloc(4));
export const u64 = (v) => ((b) => (b.writeBigUInt64BE(BigInt(v)), b))(Buffer.alloc(8));
export const bytes8 = (b) => cat(u8(b.length), b);
export const bytes16 = (b) => cat(u16(b.length), b);
export const ascii = (s) => Buffer.from(s, "latin1");
export const hex = (b) => b.toString("hex");
const nowS = () => Math.floor(Date.now() / 1000);

export function need(condition, message) {
  if (!condition) throw new Error(message);
}

export class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }
  get left() {
    return this.bytes.length - this.at;
  }
  take(n) {
    need(n <= this.left, `cut short: ${n} bytes wanted, ${this.left} there`);
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }
  u8 = () => this.take(1)[0];
  u16 = () => this.take(2).readUInt16BE();
  u24 = () => this.take(3).readUIntBE(0, 3);
  u32 = () => this.take(4).readUInt32BE();
  u64 = () => {
    const v = this.take(8).readBigUInt64BE();
    need(v < 1n << 53n, "a u64 of 2^53 or more");
    return Number(v);
  };
  bytes8 = () => this.take(this.u8());
  bytes16 = () => this.take(this.u16());
  end() {
    need(this.left === 0, `${this.left} spare bytes`);
  }
}

// ---------------------------------------------------------------- cryptography

export const sha256 = (...parts) => crypto.createHash("sha256").update(cat(...parts)).digest();
export const hmac = (key, ...parts) =>
  crypto.createHmac("sha256", key).update(cat(...parts)).digest();
export function hkdfExpand(prk, info, length) {
  let out = EMPTY, block = EMPTY;
  for (let i = 1; out.length < length; i++) out = cat(out, block = hmac(prk, block, info, u8(i)));
  return out.subarray(0, length);
}

const SPKI = { ed25519: "302a300506032b6570032100", x25519: "302a300506032b656e032100" };
export const publicKeyOf = (raw, type) =>
  crypto.createPublicKey({
    key: cat(Buffer.from(SPKI[type], "hex"), raw),
    format: "der",
    type: "spki",
  });
export const rawPublic = (key) => Buffer.from(key.export({ format: "jwk" }).x, "base64url");
export const nodeIdOf = (publicKey) => sha256(publicKey).subarray(0, 16);
const signed = (context, content) => cat(ascii(context), u8(0), content);
export const sign = (key, context, content) => crypto.sign(null, signed(context, content), key);
export const verify = (publicKey, context, content, signature) =>
  crypto.verify(null, signed(context, content), publicKeyOf(publicKey, "ed25519"), signature);

const AEAD = { 1: "aes-256-gcm", 2: "chacha20-poly1305" };
export function seal(suite, key, nonce, aad, plaintext) {
  const c = crypto.createCipheriv(AEAD[suite], key, nonce, { authTagLength: 16 });
  c.setAAD(aad, { plaintextLength: plaintext.length });
  const text = cat(c.update(plaintext), c.final());
  return { text, tag: c.getAuthTag() };
}
/** The plaintext, or undefined when the box does not open. */
export function open(suite, key, nonce, aad, text, tag) {
  const d = crypto.createDecipheriv(AEAD[suite], key, nonce, { authTagLength: 16 });
  d.setAAD(aad, { plaintextLength: text.length });
  d.setAuthTag(tag);
  try {
    return cat(d.update(text), d.final());
  } catch {
    return undefined;
  }
}

// ---------------------------------------------------------------- §1, §2 overlay and frames

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let i = 0; i < 8; i++) n = n & 1 ? (n >>> 1) ^ 0x82F63B78 : n >>> 1;
  return n;
});
function crc32c(bytes) {
  let c = 0xFFFFFFFF;
  for (const b of bytes) c = CRC_TABLE[(c ^ b) & 0xFF] ^ (c >>> 8);
  return (c ^ 0xFFFFFFFF) >>> 0;
}

/** §2: hop_limit 0, HOP_COUNT 0, dest_node_id 0 where a SEMANTIC_ADDR stands. */
export function canonical(headerAndOptions) {
  const view = Buffer.from(headerAndOptions);
  view[50] = 0;
  let hops = false;
  for (let at = 64; at + 2 <= view.length;) {
    const type = view[at] & 0x7F, length = view[at + 1];
    if (at + 2 + length > view.length) break;
    if (type === 6 && length === 1 && !hops) view[at + 2] = 0, hops = true;
    if (type === 7) view.fill(0, 32, 48);
    at += 2 + length;
  }
  return view;
}

export const FLAG_MORE = 1, FLAG_ENCRYPTED = 4, DATA = 1, HANDSHAKE = 5;

/** The 64 bytes of the header. */
export function header(f, optionsLength, payloadLength) {
  const h = Buffer.alloc(64);
  h.writeUInt32BE(((1 << 28) | ((f.flags ?? 0) << 20) | (f.type << 4)) >>> 0, 0);
  h.writeUInt32BE(64 + optionsLength + payloadLength + 4, 4);
  h.writeUInt32BE(f.streamId ?? 0, 8);
  h.writeUInt32BE(f.sequence, 12);
  f.source.copy(h, 16);
  f.dest.copy(h, 32);
  h[50] = 32;
  h[51] = f.keyPhase ?? 0;
  h.writeUInt16BE(optionsLength, 54);
  h.writeBigUInt64BE(BigInt(Date.now()) * 1_000_000n, 56);
  return h;
}

export function frameOf(head, options, payload) {
  const whole = cat(head, options, payload);
  return cat(whole, u32(crc32c(cat(canonical(cat(head, options)), payload))));
}

/** Takes a frame apart; throws at the first check of §2 that fails. */
export function parseFrame(bytes) {
  need(bytes.length >= 68 && bytes.length <= 65535, "frame length");
  need(bytes.readUInt32BE(4) === bytes.length, "frame_length differs from the bytes received");
  const word = bytes.readUInt32BE(0);
  const flags = (word >>> 20) & 0xFF, type = (word >>> 4) & 0xFFFF;
  need(word >>> 28 === 1, "frame version");
  need(type >= 1 && type <= 7, "frame type");
  const optionsLength = bytes.readUInt16BE(54);
  need(optionsLength <= 256 && 68 + optionsLength <= bytes.length, "options past the frame");
  const head = bytes.subarray(0, 64), options = bytes.subarray(64, 64 + optionsLength);
  const payload = bytes.subarray(64 + optionsLength, -4);
  const view = canonical(cat(head, options));
  need(bytes.readUInt32BE(bytes.length - 4) === crc32c(cat(view, payload)), "CRC");
  need(bytes[49] <= 9, "tensor_dtype");
  const alignment = bytes.readUInt16BE(52);
  need((alignment & (alignment - 1)) === 0, "tensor_alignment");
  const sealed = (flags & FLAG_ENCRYPTED) !== 0;
  need(sealed === (bytes[51] !== 0), "key_phase");
  const frame = {
    flags,
    type,
    streamId: bytes.readUInt32BE(8),
    sequence: bytes.readUInt32BE(12),
    source: bytes.subarray(16, 32),
    dest: bytes.subarray(32, 48),
    keyPhase: bytes[51],
    payload,
    sealed,
  };
  parseOptions(frame, view, options);
  const fragment = frame.fragment !== undefined;
  need(fragment || !(flags & FLAG_MORE), "more_fragments without FRAGMENT_INFO");
  need(!fragment || (type === HANDSHAKE && !sealed), "fragment of another frame");
  need(sealed === (frame.tag !== undefined), "tag and encrypted flag differ");
  return frame;
}

const OPTION_LENGTHS = { 1: [6, 6], 2: [1, 1], 3: [16, 16], 4: [1, 33], 5: [16, 16], 6: [1, 1] };
Object.assign(OPTION_LENGTHS, { 7: [4, 192], 8: [4, 4] });
function parseOptions(frame, view, options) {
  const r = new Reader(options), seen = new Set();
  while (r.left > 0) {
    const at = r.at, raw = r.u8(), type = raw & 0x7F, value = r.bytes8();
    const lengths = OPTION_LENGTHS[type];
    need(lengths !== undefined || type === 0 || raw < 0x80, "unknown critical option");
    if (lengths === undefined) continue;
    need(value.length >= lengths[0] && value.length <= lengths[1], "option length");
    need(type !== 4 || value.length === 1 + 4 * value[0], "option length");
    need(!seen.has(type), "option twice");
    seen.add(type);
    if (type === 1) {
      frame.fragment = { offset: value.readUInt32BE(0), total: value.readUInt16BE(4) };
      need(frame.fragment.total > 0, "0 fragments");
    }
    need(type !== 2 || (value[0] >= 1 && value[0] <= 3), "compression algorithm");
    need(type !== 7 || !frame.sealed, "SEMANTIC_ADDR on a sealed frame");
    if (type === 3) {
      need(r.left === 0 && (!frame.sealed || raw === 3), "the tag is not the last option");
      frame.tag = value;
      frame.aad = view.subarray(0, 64 + at);
    }
  }
}

// ---------------------------------------------------------------- §3 certificates

function claimsOf(r, sortedWithin) {
  const list = Array.from({ length: r.u16() }, () => ({ id: r.u8(), value: r.bytes16() }));
  for (let i = 1; i < list.length; i++) {
    const a = list[i - 1], b = list[i];
    const later = b.id > a.id || (sortedWithin && b.id === a.id && b.value.compare(a.value) > 0);
    need(later, "claims or extensions out of order");
  }
  return list;
}

const CLAIM = { CAPABILITIES: 4, CONTEXT: 5, REGION: 0x0A, MODEL: 0x0B };
export const EXT = { TENANT: 1, CONSTRAINTS: 2, CAPABILITY: 3, ROLE: 7 };
export const ROLE_NODE = 1, ROLE_CLIENT = 2;

export function parseMic(bytes) {
  need(bytes.length <= 8192, "a MIC of more than 8,192 bytes");
  const r = new Reader(bytes);
  need(r.take(3).equals(ascii("MIC")) && r.u16() === 1, "not a MIC of version 1");
  const mic = { bytes, serial: r.take(32), nodeId: r.take(16), publicKey: r.take(32) };
  Object.assign(mic, { issuer: r.take(16), notBefore: r.u64(), notAfter: r.u64() });
  mic.claims = claimsOf(r, true);
  mic.extensions = claimsOf(r, false);
  need(r.u8() === 0, "provenance");
  mic.content = bytes.subarray(0, r.at);
  mic.signature = r.take(64);
  r.end();
  const known = [1, 2, 3, 4, 5, 6, 8, 0x0A, 0x0B, 0xFF];
  for (const { id } of mic.claims) {
    need(known.includes(id), `claim ${id} is unknown`);
    const repeats = mic.claims.filter((c) => c.id === id).length > 1;
    need(!repeats || [6, 0x0B, 0xFF].includes(id), `claim ${id} stands twice`);
  }
  for (const { id } of mic.extensions) {
    need(id >= 0x80 || Object.values(EXT).includes(id), `extension ${id} is unknown`);
  }
  const serial = sha256(bytes.subarray(0, 5), mic.content.subarray(37));
  need(serial.equals(mic.serial), "the serial is not the hash of the content");
  return mic;
}

export const valueOf = (list, id) => list.find((e) => e.id === id)?.value;
const u32Of = (list, id) => valueOf(list, id)?.readUInt32BE(0);

/** A MIC signed by its own key: what a node shows before it has a certificate. */
export function selfSignedMic(identity, vni) {
  const head = cat(ascii("MIC"), u16(1)), now = nowS();
  const rest = cat(
    identity.nodeId,
    identity.publicKey,
    identity.nodeId,
    u64(now - 300),
    u64(now + 3600),
    u16(0),
    cat(u16(1), u8(EXT.TENANT), bytes16(u32(vni))),
    u8(0),
  );
  const content = cat(head, sha256(head, rest), rest);
  return cat(content, sign(identity.key, "nexus mic", content));
}

/** A certificate signing request for the role of a client. */
export function csrOf(identity) {
  const extensions = cat(u16(1), u8(EXT.ROLE), bytes16(u8(ROLE_CLIENT)));
  const content = cat(ascii("CSR"), u16(1), identity.publicKey, u16(0), extensions);
  return cat(content, sign(identity.key, "nexus csr", content));
}

export function readChain(r) {
  const count = r.u8();
  need(count >= 1 && count <= 4, "chain length");
  return Array.from({ length: count }, () => parseMic(r.bytes16()));
}
export const chainBytes = (mics) => cat(u8(mics.length), ...mics.map(bytes16));

/** §3.1 Chain; throws an Error with the ALERT code when the chain is not valid. */
export function verifyChain(chain, { rootFingerprint, vni }) {
  const check = (condition, code, message) => {
    if (!condition) throw Object.assign(new Error(message), { alert: code });
  };
  const root = chain.at(-1);
  check(sha256(root.publicKey).equals(rootFingerprint), 3, "the root is not trusted");
  chain.forEach((mic, i) => {
    const issuer = chain[i + 1] ?? mic, now = nowS();
    check(mic.nodeId.equals(nodeIdOf(mic.publicKey)), 4, "node_id is not the hash of the key");
    check(mic.issuer.equals(issuer.nodeId), 1, "issued by another");
    const good = verify(issuer.publicKey, "nexus mic", mic.content, mic.signature);
    check(good, 1, "the signature of a certificate is wrong");
    check(mic.notBefore - 300 <= now && now <= mic.notAfter + 300, 2, "not in its validity");
    const tenant = u32Of(mic.extensions, EXT.TENANT);
    check(tenant === vni || (tenant === undefined && i > 0), 7, "another tenant");
    if (i === 0) return;
    const constraints = valueOf(mic.extensions, EXT.CONSTRAINTS);
    check(constraints?.[0] === 1, 1, "an issuer is not a CA");
    const below = chain.slice(0, i);
    const casBelow = below.filter((m) => valueOf(m.extensions, EXT.CONSTRAINTS)?.[0] === 1);
    check(constraints[1] >= casBelow.length, 1, "path_length");
    const allowed = u32Of(mic.extensions, EXT.CAPABILITY);
    for (const m of allowed === undefined ? [] : below) {
      const claimed = u32Of(m.claims, CLAIM.CAPABILITIES) ?? 0;
      check((claimed & ~allowed) === 0, 1, "a capability outside the constraint");
    }
  });
}

// ---------------------------------------------------------------- §3.3 invite, §6 SAD, §7 adverts

export function parseInvite(text) {
  need(text.startsWith("nxi1_"), "not an invite token");
  const bytes = Buffer.from(text.slice(5), "base64url");
  const content = bytes.subarray(0, -4);
  need(sha256(content).subarray(0, 4).equals(bytes.subarray(-4)), "the token is mistyped");
  const r = new Reader(content);
  need(r.u8() === 1, "token version");
  const token = { vni: r.u24(), expires: r.u64(), rootFingerprint: r.take(32), id: r.take(8) };
  token.secret = r.take(32);
  token.seeds = Array.from({ length: r.u8() }, () => {
    const nodeId = r.take(16);
    return { nodeId, address: r.bytes8().toString() };
  });
  r.end();
  need(token.expires > nowS(), "the invite has expired");
  return token;
}

const CAPABILITIES = [
  ..."text_gen code_gen image_gen audio_gen embedding classification".split(" "),
  ..."tool_use reasoning vision rerank speech_to_text".split(" "),
];
const ARCHS = "transformer diffusion moe cnn rnn rl_agent".split(" ");
const size = (text) => {
  const [, n, unit] = /^(\d+)([km]?)$/i.exec(text) ?? need(false, `"${text}" is not a size`);
  return Number(n) * { "": 1, k: 1024, m: 1048576 }[unit.toLowerCase()];
};
const regions = (text) => cat(...text.split("|").map(Number).sort((a, b) => a - b).map(u16));
/** The terms of §6 that this client writes; regions as numbers only. */
const TERMS = {
  "arch=": [1, (v) => u32(ARCHS.indexOf(v) + 1)],
  "cap=": [
    2,
    (v) => u32(v.split("+").reduce((bits, c) => bits | 1 << CAPABILITIES.indexOf(c), 0)),
  ],
  "ctx>=": [3, (v) => u32(size(v))],
  "latency<": [4, (v) => u32(parseFloat(v) * (v.endsWith("ms") ? 1 : 1000))],
  "trust>=": [6, (v) => u8(Number(v))],
  "region!=": [8, regions],
  "region=": [7, regions],
  "publisher=": [9, (v) => Buffer.from(v, "hex")],
  "model=": [0x0C, (v) => Buffer.from(decodeURIComponent(v))],
};
/** The SAD as bytes, from `hex:…` or from text; a text without an operator is a model name. */
export function encodeSad(text) {
  if (text.startsWith("hex:")) return Buffer.from(text.slice(4), "hex");
  const plainName = text !== "*" && !/[=<>]/.test(text);
  const terms = text === "*" ? [] : plainName ? [`model=${text}`] : text.split(",");
  const fields = terms.map((term) => {
    const t = term.trim().replace(/\s*(>=|<=|!=|<|=)\s*/, "$1").replace("<=", "<");
    const key = Object.keys(TERMS).find((k) => t.startsWith(k));
    need(key !== undefined, `the term "${term}" is unknown to this client`);
    return cat(u8(TERMS[key][0]), bytes8(TERMS[key][1](t.slice(key.length))));
  });
  fields.sort((a, b) => a[0] - b[0]);
  const content = cat(...fields);
  return cat(u8(1), u8(fields.length), u16(4 + content.length), content);
}
export function parseSad(bytes) {
  const r = new Reader(bytes), fields = new Map();
  need(r.u8() === 1, "SAD version");
  const count = r.u8();
  need(count <= 16 && r.u16() === bytes.length && bytes.length <= 512, "SAD length");
  for (let i = 0, last = 0; i < count; i++) {
    const type = r.u8();
    need(type > last && type <= 0x0E, "SAD fields");
    fields.set(last = type, r.bytes8());
  }
  r.end();
  return fields;
}

const modelMatches = (pattern, name) =>
  pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
const regionsOf = (b) => Array.from({ length: b.length / 2 }, (_, i) => b.readUInt16BE(2 * i));

/** §4.5: every constraint of the SAD that a MIC certifies. */
export function sadIsCertified(sad, chain) {
  const f = parseSad(sad), leaf = chain[0], claim = (id) => valueOf(leaf.claims, id);
  const models = leaf.claims.filter((c) => c.id === CLAIM.MODEL).map((c) => c.value.toString());
  const partial = ((f.get(0x0E)?.[0] ?? 0) & 1) !== 0, region = claim(CLAIM.REGION);
  const capabilities = u32Of(leaf.claims, CLAIM.CAPABILITIES) ?? 0;
  const missing = (f.get(2)?.readUInt32BE() ?? 0) & ~capabilities;
  const excluded = f.has(8) ? regionsOf(f.get(8)) : [];
  return (partial || missing === 0) &&
    (!f.has(3) || (u32Of(leaf.claims, CLAIM.CONTEXT) ?? 0) >= f.get(3).readUInt32BE()) &&
    (f.get(6)?.[0] ?? 0) <= 1 &&
    (!f.has(8) || (region !== undefined && !regionsOf(region).some((x) => excluded.includes(x)))) &&
    (!f.has(9) || chain.some((m) => m.nodeId.equals(f.get(9)))) &&
    (!f.has(0x0C) || models.some((m) => modelMatches(f.get(0x0C).toString(), m)));
}

/** §7: parses an advertisement and checks everything that a receiver checks. */
export function parseAdvertisement(bytes, trust) {
  const r = new Reader(bytes);
  need(bytes.length <= 65535 && r.take(4).equals(ascii("NXAD")), "not an advertisement");
  need(r.u16() === 1, "version of an advertisement");
  const ad = { nodeId: r.take(16), sequence: r.u64(), issued: r.u64(), ttl: r.u32() };
  need(ad.ttl >= 1 && ad.ttl <= 3600, "ttl of an advertisement");
  const endpoints = r.u8();
  need(endpoints <= 8, "too many endpoints");
  ad.endpoints = Array.from({ length: endpoints }, () => r.bytes8().toString());
  ad.region = r.u16();
  const count = r.u16();
  need(count <= 256, "too many models");
  ad.models = Array.from({ length: count }, () => {
    const model = { name: r.bytes8().toString(), arch: r.u32(), capabilities: r.u32() };
    Object.assign(model, { context: r.u32(), latencyMs: r.u32(), cost: r.u32(), trust: r.u8() });
    return Object.assign(model, { benchmark: r.u32(), publisher: r.take(16), slots: r.u16() });
  });
  if (trust === undefined) return ad;
  const chain = readChain(r), content = bytes.subarray(0, r.at), signature = r.take(64);
  r.end();
  const leaf = chain[0];
  verifyChain(chain, trust);
  need(leaf.nodeId.equals(ad.nodeId), "advertised by another node");
  need(verify(leaf.publicKey, "nexus advertisement", content, signature), "advert signature");
  need(valueOf(leaf.extensions, EXT.ROLE)?.[0] === ROLE_NODE, "advertised by a client");
  need(ad.issued <= nowS() + 300 && ad.issued + ad.ttl >= nowS(), "the advert is out of its time");
  return ad;
}

// ---------------------------------------------------------------- §8.2 NexBuf, §8.3 bodies

/** Width, the value that means absent, how to read and how to write. */
const SCALARS = {
  bool: [1, 0xFF, (b, o) => b[o], (b, v, o) => b.writeUInt8(Number(v), o)],
  u8: [1, 0xFF, (b, o) => b[o], (b, v, o) => b.writeUInt8(v, o)],
  u16: [2, 0xFFFF, (b, o) => b.readUInt16LE(o), (b, v, o) => b.writeUInt16LE(v, o)],
  u32: [4, 0xFFFFFFFF, (b, o) => b.readUInt32LE(o), (b, v, o) => b.writeUInt32LE(v, o)],
  u64: [8, 2n ** 64n - 1n, (b, o) => b.readBigUInt64LE(o), (b, v, o) => b.writeBigUInt64LE(v, o)],
  i64: [8, -(2n ** 63n), (b, o) => b.readBigInt64LE(o), (b, v, o) => b.writeBigInt64LE(v, o)],
  f32: [4, NaN, (b, o) => b.readFloatLE(o), (b, v, o) => b.writeFloatLE(v, o)],
  f64: [8, NaN, (b, o) => b.readDoubleLE(o), (b, v, o) => b.writeDoubleLE(v, o)],
};
/** "name:type?=default …" with the fields' places in the fixed part (§8.2 Table). */
function table(text) {
  let at = 4;
  const fields = text.split(/\s+/).filter(Boolean).map((word) => {
    const [, name, type, optional, absent] = /^(\w+):([\w[\]]+)(\??)(?:=(\d+))?$/.exec(word);
    const width = SCALARS[type]?.[0] ?? 4, offset = Math.ceil(at / width) * width;
    at = offset + width;
    return { name, type, optional: optional === "?", absent: Number(absent ?? 0), offset, width };
  });
  return { fields, size: at };
}
/** The bodies that this client writes or reads; of the union Part it writes only text. */
const TABLES = {
  ToolUse: table("id:string name:string arguments:string"),
  ChatMessage: table("parts:[Part] name:string? toolCallId:string? extraJson:string? role:u8=3"),
  Usage: table("prompt:u32 completion:u32 cached:u32"),
  InferenceRequest: table(`model:bytes messages:[ChatMessage] system:string? temperature:f64?
    topP:f64? seed:i64? maxTokens:u32? topK:u32? deadlineMs:u32 stop:[string] tools:[Tool]
    toolChoice:string? responseFormat:string? metadata:map tensorInputs:[TensorRef] stream:bool`),
  Choice: table(`text:string toolCalls:[ToolUse] extraJson:string? index:u32 finishReason:u8
    role:u8=4`),
  InferenceResponse: table(`choices:[Choice] usage:Usage model:string nodeId:bytes latencyMs:u32
    costMicros:u64 ttftMs:u32 extraJson:string?`),
  TokenStreamStart: table("model:string nodeId:bytes extraJson:string?"),
  ToolCallDelta: table("index:u32 id:string? name:string? arguments:string"),
  TokenStreamChunk: table(`sequence:u32 index:u32 text:string toolCalls:[ToolCallDelta]
    extraJson:string? role:u8? finishReason:u8?`),
  TokenStreamEnd: table(`chunks:u32 usage:Usage model:string nodeId:bytes latencyMs:u32
    costMicros:u64 ttftMs:u32 extraJson:string? finishReason:u8`),
  Cancel: table("reason:string?"),
  Error: table("text:string retryAfterMs:u32? detailJson:string? code:u16=11 retryable:bool"),
  HealthCheck: table("models:bool"),
  ModelHealth: table(`name:string active:u32 queueDepth:u32 ttftMs:u32? tokensPerS:f32?
    ready:bool=1`),
  HealthStatus: table(`load:f32 queueDepth:u32 active:u32 capacity:u32 models:[ModelHealth]
    draining:bool`),
  Advertisements: table("adverts:[bytes]"),
  AdvertisementPull: table(""),
  CsrSubmit: table("csr:bytes name:string"),
  CsrResult: table("chain:[bytes]"),
};
/** Message types of root tables (§8.1). */
const TYPES = {
  ...{ InferenceRequest: 1, InferenceResponse: 2, TokenStreamStart: 3, TokenStreamChunk: 4 },
  ...{ TokenStreamEnd: 5, HealthCheck: 0x0E, HealthStatus: 0x0F, Cancel: 0x11, Error: 0x12 },
  ...{ Advertisements: 0x80, AdvertisementPull: 0x81, CsrSubmit: 0x82, CsrResult: 0x83 },
};
export const NAME_OF_TYPE = Object.fromEntries(
  Object.entries(TYPES).map(([name, type]) => [type, name]),
);

function encodeBody(name, value) {
  let out = EMPTY;
  const take = (length, align) => {
    const at = Math.ceil(out.length / align) * align;
    out = cat(out, Buffer.alloc(at + length - out.length));
    return at;
  };
  /** Writes what an offset refers to; returns the offset. */
  const object = (type, v) => {
    if (TABLES[type]) return tableAt(type, v);
    const blob = type === "string" ? Buffer.from(v) : v, union = type === "[Part]";
    const width = type.startsWith("[") ? (union ? 8 : 4) : 1, at = take(4 + v.length * width, 4);
    if (width === 1) {
      if (blob.length > v.length) take(blob.length - v.length, 1); // UTF-8 is longer
      out.writeUInt32LE(blob.length, at);
      blob.copy(out, at + 4);
      return at;
    }
    out.writeUInt32LE(v.length, at);
    v.forEach((element, i) => {
      const to = object(union ? "string" : type.slice(1, -1), element);
      if (union) out[at + 4 + 8 * i] = 1; // the tag of text
      out.writeUInt32LE(to, at + (union ? 8 : 4) + width * i);
    });
    return at;
  };
  const tableAt = (type, v) => {
    const { fields, size } = TABLES[type], at = take(size, 8);
    out.writeUInt32LE(size, at);
    for (const f of fields) {
      const x = v[f.name], scalar = SCALARS[f.type];
      if (scalar) {
        const written = x ?? (f.optional ? scalar[1] : f.absent), big = /64$/.test(f.type);
        scalar[3](out, big && f.type !== "f64" ? BigInt(written) : written, at + f.offset);
      } else if (x !== undefined && (f.optional || x.length !== 0)) {
        const to = object(f.type, x); // before `out` is used: it moves
        out.writeUInt32LE(to, at + f.offset);
      }
    }
    return at;
  };
  tableAt(name, value);
  return out;
}

/** Reads a body with the checks of §8.2. */
export function decodeBody(name, b) {
  let budget = b.length, objects = 0;
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  /** Checks an object behind its holder (rules 1, 2, 5); returns its end. */
  const endOf = (at, align, behind, sizeOf) => {
    need(at % align === 0 && at >= behind && at + 4 <= b.length, "NexBuf: bad offset");
    const length = sizeOf(b.readUInt32LE(at));
    need(length >= 4 && at + length <= b.length, "NexBuf: object past the body");
    need((budget -= length) >= 0, "NexBuf: objects overlap");
    return at + length;
  };
  const object = (type, at, behind, depth) => {
    if (TABLES[type]) return tableAt(type, at, behind, depth + 1);
    if (!type.startsWith("[")) {
      const bytes = b.subarray(at + 4, endOf(at, 4, behind, (n) => 4 + n));
      return type === "bytes" ? bytes : utf8.decode(bytes);
    }
    const end = endOf(at, 4, behind, (n) => 4 + n * 4), count = b.readUInt32LE(at);
    need((objects += count) <= 262144, "NexBuf: too many objects");
    return Array.from({ length: count }, (_, i) => {
      const to = b.readUInt32LE(at + 4 + i * 4);
      need(to !== 0, "NexBuf: absent element");
      return object(type.slice(1, -1), to, end, depth);
    });
  };
  const tableAt = (type, at, behind, depth) => {
    need(depth <= 32 && ++objects <= 262144, "NexBuf: nested too deep");
    const end = endOf(at, 8, behind, (n) => n), value = {};
    for (const f of TABLES[type].fields) {
      const place = at + f.offset, there = place + f.width <= end, scalar = SCALARS[f.type];
      const to = there && !scalar ? b.readUInt32LE(place) : 0;
      if (scalar) {
        const read = there ? scalar[2](b, place) : undefined;
        if (f.optional && (!there || Object.is(read, scalar[1]))) continue;
        const v = Number(read ?? f.absent);
        need(f.width < 8 || Math.abs(v) < 2 ** 53, "NexBuf: integer out of range");
        value[f.name] = f.type === "bool" ? v !== 0 : v;
      } else if (to !== 0) value[f.name] = object(f.type, to, end, depth);
      else if (!f.optional) value[f.name] = emptyOf(f.type);
    }
    return value;
  };
  return tableAt(name, 0, 0, 1);
}
function emptyOf(type) {
  if (TABLES[type]) return decodeBody(type, Buffer.from([4, 0, 0, 0]));
  return { string: "", bytes: EMPTY }[type] ?? [];
}

export const message = (name, requestId, value) => {
  const body = encodeBody(name, value);
  return cat(u16(TYPES[name]), u16(0), u32(requestId), u32(body.length), u32(0), body);
};
