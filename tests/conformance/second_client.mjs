#!/usr/bin/env node
/**
 * A second client of the Nexus wire protocol, written from docs/protocol.md alone: nothing here
 * comes from lib/. It proves that the document is complete. Node.js 20, no packages.
 *
 *   node second_client.mjs [--loss 0.1] [--suites 1,2] <invite token> <SAD text | hex:…> <prompt>
 *
 * It joins the mesh with the invite, reconnects with its certificate as a client, pulls the
 * advertisements, checks the node's health, asks three times (streamed, whole, streamed and
 * cancelled) and leaves. Each step is one line of JSON on stdout. --loss drops that share of the
 * datagrams of both directions, to see the loss recovery work.
 */
import { Buffer } from "node:buffer";
import crypto from "node:crypto";
import dgram from "node:dgram";
import process from "node:process";
import {
  ascii,
  bytes16,
  bytes8,
  canonical,
  cat,
  chainBytes,
  csrOf,
  DATA,
  decodeBody,
  EMPTY,
  encodeSad,
  EXT,
  FLAG_ENCRYPTED,
  FLAG_MORE,
  frameOf,
  HANDSHAKE,
  header,
  hex,
  hkdfExpand,
  hmac,
  message,
  NAME_OF_TYPE,
  need,
  nodeIdOf,
  open,
  parseAdvertisement,
  parseFrame,
  parseInvite,
  parseMic,
  parseSad,
  publicKeyOf,
  rawPublic,
  readChain,
  Reader,
  ROLE_CLIENT,
  sadIsCertified,
  seal,
  selfSignedMic,
  sha256,
  sign,
  u16,
  u24,
  u32,
  u64,
  u8,
  valueOf,
  verify,
  verifyChain,
} from "./second_codec.mjs";

// ---------------------------------------------------------------- UDP

/** One socket to one address: overlay, frames, reassembly of fragments (§1, §2). */
class Wire {
  constructor(address, vni, loss) {
    const [, host6, host4, port] = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(address);
    this.host = host6 ?? host4;
    this.port = Number(port);
    this.vni = vni;
    this.loss = loss;
    this.sets = new Map();
    this.socket = dgram.createSocket(host6 ? "udp6" : "udp4");
    this.socket.on("message", (datagram) => this.#received(datagram));
    this.socket.on("error", () => {}); // as a loss
  }
  send(frame) {
    if (Math.random() < this.loss) return;
    const overlay = cat(u8(0x10), u8(0), u24(this.vni), Buffer.alloc(3));
    this.socket.send(cat(overlay, frame), this.port, this.host, () => {});
  }
  #received(datagram) {
    if (Math.random() < this.loss) return;
    if (datagram.length < 8 + 68 || datagram[0] >> 4 !== 1) return;
    if (datagram.readUIntBE(2, 3) !== this.vni) return;
    let frame;
    try {
      frame = parseFrame(datagram.subarray(8));
    } catch (cause) {
      return trace("frame dropped:", cause.message);
    }
    if (frame.fragment === undefined) return this.onFrame?.(frame);
    const whole = this.#reassembled(frame);
    if (whole !== undefined) this.onFrame?.({ ...frame, payload: whole });
  }
  #reassembled({ source, sequence, fragment, payload, flags }) {
    const key = `${hex(source)} ${sequence}`;
    const set = this.sets.get(key) ?? { parts: new Map(), at: Date.now() };
    if (Date.now() - set.at > 5000 || this.sets.size > 64) this.sets.clear();
    this.sets.set(key, set);
    if (!set.parts.has(fragment.offset)) set.parts.set(fragment.offset, payload);
    if (!(flags & FLAG_MORE)) set.end = fragment.offset + payload.length;
    if (set.parts.size < fragment.total || fragment.total > 16) return undefined;
    this.sets.delete(key);
    const whole = cat(...[...set.parts].sort(([a], [b]) => a - b).map(([, part]) => part));
    return whole.length === set.end && whole.length <= 16384 ? whole : undefined;
  }
  close() {
    this.socket.close();
  }
}

// ---------------------------------------------------------------- §4 handshake

const HELLO = 1, ACCEPT = 3, FINISH = 4, ALERT = 5;
const PADDED = 1200;
const handshakeMessage = (type, body) => cat(u8(type), u8(1), u16(body.length), body);

/** The frame of a handshake message; ours are never long enough to be cut into fragments. */
function handshakeFrame({ source, dest, sequence }, msg, padTo) {
  const payload = cat(msg, Buffer.alloc(Math.max(0, padTo - 68 - msg.length)));
  const head = header({ type: HANDSHAKE, source, dest, sequence }, 0, payload.length);
  return frameOf(head, EMPTY, payload);
}

const KEY_LABELS = [["client", "write key", 32], ["server", "write key", 32]];
KEY_LABELS.push(["client", "write iv", 12], ["server", "write iv", 12]);
const FINISHED_LABELS = [["client", "finished", 32], ["server", "finished", 32]];
function keysOf(secret, labels, binding) {
  const keys = { client: {}, server: {} };
  for (const [who, what, length] of labels) {
    keys[who][what] = hkdfExpand(secret, cat(ascii(`${who} ${what}`), binding), length);
  }
  return keys;
}
/** §4.5 from the shared secret to the handshake keys. t2 gives the traffic keys later. */
function handshakeKeys(z, cid, sid, t1) {
  const prk = hmac(Buffer.alloc(32), z), binding = cat(cid, sid, sha256(t1));
  const hs = hkdfExpand(prk, cat(ascii("nexus handshake"), binding), 32);
  const keys = keysOf(hs, [...KEY_LABELS, ...FINISHED_LABELS], binding);
  const traffic = (t2) => keysOf(prk, KEY_LABELS, cat(cid, sid, sha256(t2)));
  return { ...keys, traffic };
}
const xorLast = (iv) => cat(iv.subarray(0, 11), u8(iv[11] ^ 1));

/**
 * Connects to a seed. `identity` is who we are, its chain what we show; with `invite` the proof is
 * sent too. Resolves to a Connection once the server's first sealed frame has come.
 */
function connect({ address, destId, trust, identity, chain, invite, sad, suites, loss }) {
  const wire = new Wire(address, trust.vni, loss);
  const { privateKey, publicKey } = crypto.generateKeyPairSync("x25519");
  const connectionId = crypto.randomInt(1, 2 ** 32), cid = identity.nodeId;
  const hello = handshakeMessage(
    HELLO,
    cat(
      ...[cid, destId, u32(trust.vni), u32(connectionId), rawPublic(publicKey)],
      ...[u8(suites.length), ...suites.map(u16), u8(parseSad(sad).get(6)?.[0] ?? 0)],
      ...[bytes16(EMPTY), bytes16(EMPTY), bytes16(EMPTY)], // sad, cookie, ticket
    ),
  );

  return new Promise((resolve, reject) => {
    let connection, keys, repeat, sequence = 0, refusal;
    const stop = () => (clearTimeout(repeat), clearTimeout(timeout));
    const fail = (cause) => {
      stop();
      connection?.abandon();
      wire.close();
      reject(cause);
    };
    const timeout = setTimeout(() => fail(new Error("CONNECT_TIMEOUT: no answer in 5 s")), 5000);
    /** Sends a message now, after 250 ms and then every 500 ms. */
    const repeatedly = (frame) => {
      clearTimeout(repeat);
      const again = (wait) => {
        wire.send(frame);
        repeat = setTimeout(() => again(500), wait);
      };
      again(250);
    };
    const frameTo = (dest, msg, padTo = 0) =>
      handshakeFrame({ source: cid, dest, sequence: sequence++ }, msg, padTo);

    const accepted = (frame, msg) => {
      const r = new Reader(msg.subarray(4));
      const sid = r.take(16);
      if (r.u32() !== connectionId || connection !== undefined) return;
      const theirId = r.u32(), ephemeral = r.take(32), suite = r.u16();
      const sealedAt = 4 + r.at, clear = msg.subarray(0, sealedAt), sealed = msg.subarray(sealedAt);
      if (!suites.includes(suite) || theirId === 0 || sealed.length < 16) return;
      const z = crypto.diffieHellman({ privateKey, publicKey: publicKeyOf(ephemeral, "x25519") });
      if (z.every((b) => b === 0)) return;
      const t1 = cat(hello, clear); // our cookie is empty
      const k = handshakeKeys(z, cid, sid, t1);
      const { "write key": key, "write iv": iv } = k.server;
      const plain = open(suite, key, iv, clear, sealed.subarray(0, -16), sealed.subarray(-16));
      if (plain === undefined) return; // unauthenticated garbage
      const alert = (code, text) => {
        const phrase = code === 8 ? EMPTY : Buffer.from(text).subarray(0, 255);
        const box = cat(u16(code), bytes8(phrase));
        const head = cat(u8(ALERT), u8(1), u16(4 + box.length + 16), u32(theirId));
        const nonce = xorLast(k.client["write iv"]);
        const { text: sealedText, tag } = seal(suite, k.client["write key"], nonce, head, box);
        wire.send(frameTo(sid, cat(head, sealedText, tag)));
      };
      let serverChain;
      try {
        serverChain = checkServer(plain, { k, t1, sid, destId, trust, sad, source: frame.source });
      } catch (cause) { // §4.4: say so, and wait 250 ms for a better ACCEPT
        if (refusal !== undefined) return;
        alert(cause.alert ?? 10, cause.message);
        refusal = cause;
        clearTimeout(repeat);
        repeat = setTimeout(() => fail(refusal), 250);
        return;
      }
      keys = { k, theirId, suite };
      const t2 = cat(t1, plain), traffic = k.traffic(t2);
      const proof = invite === undefined
        ? EMPTY
        : cat(invite.id, hmac(invite.secret, ascii("nexus invite"), sha256(t2)));
      const content = cat(chain, bytes16(EMPTY), bytes16(sad), bytes8(proof));
      const bodyLength = 4 + content.length + 64 + 32 + 16;
      const head = cat(u8(FINISH), u8(1), u16(bodyLength), u32(theirId)), t3 = cat(t2, head);
      const signature = sign(identity.key, "nexus client handshake", sha256(t3, content));
      const finished = hmac(k.client.finished, sha256(t3, content, signature));
      const box = cat(content, signature, finished);
      const { text, tag } = seal(suite, k.client["write key"], k.client["write iv"], head, box);
      connection = new Connection({
        ...{ wire, suite, connectionId, theirId, cid, sid },
        ...{ sendKeys: traffic.client, receiveKeys: traffic.server, serverChain },
        onFirst: () => (stop(), resolve(connection)),
      });
      repeatedly(frameTo(sid, cat(head, text, tag)));
      connection.start();
    };

    const alerted = (msg) => { // our FINISH was refused
      if (keys === undefined) return;
      const head = msg.subarray(0, 8), box = msg.subarray(8);
      if (box.length < 16 || head.readUInt32BE(4) !== connectionId) return;
      const { "write key": key, "write iv": iv } = keys.k.server;
      const tag = box.subarray(-16);
      const plain = open(keys.suite, key, xorLast(iv), head, box.subarray(0, -16), tag);
      if (plain === undefined || connection.heard) return;
      const r = new Reader(plain);
      fail(new Error(`ALERT ${r.u16()}: ${r.bytes8()}`));
    };

    wire.onFrame = (frame) => {
      try {
        if (frame.type === DATA && frame.sealed) return connection?.received(frame);
        if (frame.type !== HANDSHAKE || frame.sealed) return;
        const { payload } = frame;
        if (payload.length < 4 || payload[1] !== 1) return;
        const length = 4 + payload.readUInt16BE(2);
        if (length > payload.length) return;
        const msg = payload.subarray(0, length);
        if (payload[0] === ACCEPT) accepted(frame, msg);
        if (payload[0] === ALERT) alerted(msg);
      } catch (cause) {
        trace("frame ignored:", cause.message);
      }
    };
    repeatedly(frameTo(destId, hello, PADDED));
  });
}

/** What §4.5 tells the client to check; the server's chain. */
function checkServer(plain, { k, t1, sid, destId, trust, sad, source }) {
  const refuse = (condition, alert, text) => {
    if (!condition) throw Object.assign(new Error(text), { alert });
  };
  const r = new Reader(plain), chain = readChain(r);
  r.bytes16(); // proofs
  const signedUntil = r.at, signature = r.take(64), finishedUntil = r.at, finished = r.take(32);
  r.end();
  const leaf = chain[0];
  verifyChain(chain, trust);
  refuse(sid.equals(nodeIdOf(leaf.publicKey)) && sid.equals(source), 4, "server_id is not its key");
  refuse(destId.every((b) => b === 0) || sid.equals(destId), 4, "another node answered");
  const digest = sha256(t1, plain.subarray(0, signedUntil));
  const good = verify(leaf.publicKey, "nexus server handshake", digest, signature);
  refuse(good, 5, "the server's signature is wrong");
  const mac = hmac(k.server.finished, sha256(t1, plain.subarray(0, finishedUntil)));
  refuse(crypto.timingSafeEqual(mac, finished), 6, "the server's finished is wrong");
  refuse(valueOf(leaf.extensions, EXT.ROLE)?.[0] !== ROLE_CLIENT, 1, "a client answered");
  refuse(sadIsCertified(sad, chain), 8, "the node is not certified for what was asked");
  return chain;
}

// ---------------------------------------------------------------- §5 NexStream

const RO = 1, RU = 2, BE = 3;
const LIMITS = { maxStreams: 16, maxData: 65536, streamWindow: 65536, streamMessages: 64 };
Object.assign(LIMITS, { maxMessage: 65536, maxAckDelayUs: 25000, idleTimeoutMs: 30000 });
const PACKET_BYTES = 1100, IN_FLIGHT = 32, REPLAY = 4096;
const REASON = { FLOW_CONTROL: 2, STREAM_LIMIT: 3, STREAM_STATE: 4, FINAL_SIZE: 5 };
Object.assign(REASON, { FRAME_ENCODING: 6, PROTOCOL_VIOLATION: 7 });
const closing = (reason) => Object.assign(new Error(`the peer broke ${reason}`), { reason });
function must(condition, reason) {
  if (!condition) throw closing(reason);
}

class Stream {
  constructor(connection, id, mode, limits) {
    Object.assign(this, { connection, id, mode, mine: (id & 0x80000000) === 0 });
    this.sendOffset = this.sendMessages = 0; // what was sent
    this.sendLimit = limits.streamWindow;
    this.queue = []; // bytes that wait for credit (RO)
    this.openAcked = !this.mine;
    this.closing = this.closeSent = this.closeAcked = false;
    this.window = mode === RO ? LIMITS.streamWindow : mode === RU ? LIMITS.streamMessages : 0;
    this.recvLimit = this.window;
    this.highest = this.consumed = 0; // bytes counted for the connection; bytes or messages taken
    this.segments = new Map(); // RO: by offset
    this.messages = new Map(); // RU: those not complete
    this.delivered = new Set(); // RU: numbers
    this.hold = false; // no more credit for the peer
  }
  write(bytes) {
    this.queue.push(bytes);
    this.connection.flush();
  }
  /** Ends our direction once all is sent. */
  close() {
    this.closing = true;
    this.connection.flush();
  }
  get openFrame() {
    return cat(u8(0x10), u32(this.id), u8(this.mode), u8(0), u64(this.window));
  }
  /** §5.3: until our STREAM_OPEN is acknowledged one goes in front. */
  control(frame, acked) {
    const make = () => this.openAcked ? frame() : cat(this.openFrame, frame());
    this.connection.queue.push({ make, acked });
  }
  /** Turns what may be sent into units of the connection. */
  pump() {
    const c = this.connection;
    while (this.queue.length > 0) {
      const credit = Math.min(this.sendLimit - this.sendOffset, c.sendLimit - c.sendTotal);
      const piece = this.queue[0].subarray(0, Math.min(credit, 1000));
      if (piece.length === 0) break;
      const frame = cat(u8(0x50), u32(this.id), u64(this.sendOffset), bytes16(piece));
      c.queue.push({ make: () => frame });
      this.sendOffset += piece.length;
      c.sendTotal += piece.length;
      this.queue[0] = this.queue[0].subarray(piece.length);
      if (this.queue[0].length === 0) this.queue.shift();
    }
    if (!this.closing || this.closeSent || this.queue.length > 0) return;
    this.closeSent = true;
    const final = this.mode === RO ? this.sendOffset : this.sendMessages;
    const acked = () => (this.closeAcked = true, this.settle());
    this.control(() => cat(u8(0x12), u32(this.id), u64(final)), acked);
  }
  sendBestEffort(bytes) {
    const head = cat(u8(BE), u32(this.id), u64(this.sendMessages++), u32(bytes.length), u32(0));
    const frame = cat(u8(0x51), head, bytes16(bytes));
    this.connection.queue.push({ make: () => frame, once: true });
    this.connection.flush();
  }
  /** RO bytes. */
  data(offset, bytes) {
    const end = offset + bytes.length;
    must(end <= this.recvLimit, "FLOW_CONTROL");
    must(this.finalSize === undefined || end <= this.finalSize, "FINAL_SIZE");
    if (end > this.highest) {
      this.connection.counted(end - this.highest);
      this.highest = end;
    }
    if (end > this.consumed) this.segments.set(offset, bytes);
    for (const [at, part] of [...this.segments].sort(([a], [b]) => a - b)) {
      if (at > this.consumed) break;
      this.segments.delete(at);
      const fresh = part.subarray(Math.min(part.length, this.consumed - at));
      if (fresh.length === 0) continue;
      this.consumed += fresh.length;
      this.connection.taken(fresh.length);
      this.onBytes?.(fresh);
    }
    this.settle();
  }
  /** A part of a message (RU), or a whole one (BE). */
  part(number, total, offset, bytes) {
    if (this.mode === BE) return this.onMessage?.(bytes);
    must(number < this.recvLimit, "FLOW_CONTROL");
    must(total <= LIMITS.maxMessage, "PROTOCOL_VIOLATION");
    if (this.delivered.has(number)) return;
    let m = this.messages.get(number);
    if (m === undefined) {
      this.connection.counted(total);
      this.highest += total;
      this.messages.set(number, m = { bytes: Buffer.alloc(total), got: new Uint8Array(total) });
    }
    must(m.bytes.length === total, "PROTOCOL_VIOLATION");
    bytes.copy(m.bytes, offset);
    m.got.fill(1, offset, offset + bytes.length);
    if (m.got.includes(0)) return;
    this.messages.delete(number);
    this.delivered.add(number);
    this.consumed++;
    this.connection.taken(total);
    this.onMessage?.(m.bytes);
    this.settle();
  }
  ended(finalSize) {
    const known = this.mode === RO ? this.highest : this.delivered.size;
    must(finalSize >= known || this.mode === BE, "FINAL_SIZE");
    must(this.finalSize === undefined || this.finalSize === finalSize, "FINAL_SIZE");
    this.finalSize = finalSize;
    this.settle();
  }
  reset(error, finalSize) {
    if (this.finished) return;
    if (this.mode !== BE) {
      must(finalSize >= this.highest, "FINAL_SIZE");
      const pending = this.mode === RO
        ? this.highest - this.consumed
        : [...this.messages.values()].reduce((sum, m) => sum + m.bytes.length, 0);
      this.connection.counted(finalSize - this.highest);
      this.connection.taken(finalSize - this.highest + pending);
    }
    this.wasReset = error;
    this.settle();
  }
  get finished() {
    if (this.wasReset !== undefined) return true;
    return this.finalSize !== undefined && (this.mode === BE || this.consumed === this.finalSize);
  }
  /** Grants credit, ends and forgets the stream when it is time. */
  settle() {
    if (!this.finished && !this.hold && this.recvLimit - this.consumed < this.window / 2) {
      this.recvLimit = this.consumed + this.window;
      this.control(() => cat(u8(0x22), u32(this.id), u64(this.recvLimit)));
    }
    if (this.finished && !this.told) this.told = true, this.onEnd?.(this.wasReset);
    if (this.mine || !this.finished) return;
    if (!this.closing) this.closing = true;
    if (!this.closeAcked || this.gone) return;
    this.gone = true;
    this.connection.queue.push({ make: () => cat(u8(0x14), u32(this.id)) });
    this.connection.forget(this.id);
  }
}

class Connection {
  constructor(options) {
    Object.assign(this, options);
    this.queue = []; // { make(), acked?(), once? }: frames to send
    this.nextNumber = 0;
    this.sent = new Map(); // by packet number, those with units that await acknowledgement
    this.received64 = []; // ranges [high, low] of packet numbers, descending
    this.ackWaiting = 0;
    this.rtt = { smoothed: 333, variation: 166, sampled: false };
    this.peer = { ...LIMITS }; // until CONN_ACCEPT
    this.sendLimit = this.peer.maxData;
    this.sendTotal = this.recvTotal = this.recvTaken = 0;
    this.recvLimit = LIMITS.maxData;
    this.streams = new Map();
    this.forgotten = new Set();
    this.nextStream = 1;
    this.ptoCount = 0;
    this.heard = this.closed = false;
    this.stats = { sent: 0, resent: 0, received: 0 };
    this.ended = new Promise((resolve) => this.end = resolve);
  }
  start() {
    const l = LIMITS;
    const parameters = cat(
      ...[u16(1), this.cid, u32(l.maxStreams), u64(l.maxData), u64(l.streamWindow)],
      ...[u32(l.streamMessages), u32(l.maxMessage), u32(l.maxAckDelayUs), u32(l.idleTimeoutMs)],
      u16(0),
    );
    this.queue.push({ make: () => cat(u8(1), parameters) });
    this.flush();
  }
  openStream(mode) {
    const stream = new Stream(this, this.nextStream, mode, this.peer);
    this.nextStream += 2;
    this.streams.set(stream.id, stream);
    const acked = () => stream.openAcked = true;
    this.queue.push({ make: () => stream.openFrame, acked });
    return stream;
  }
  forget(id) {
    this.streams.delete(id);
    this.forgotten.add(id);
  }
  counted(bytes) {
    this.recvTotal += bytes;
    must(this.recvTotal <= this.recvLimit, "FLOW_CONTROL");
  }
  taken(bytes) {
    this.recvTaken += bytes;
    if (this.recvLimit - this.recvTaken >= LIMITS.maxData / 2) return;
    this.recvLimit = this.recvTaken + LIMITS.maxData;
    this.queue.push({ make: () => cat(u8(0x22), u32(0), u64(this.recvLimit)) });
  }

  // sending

  nonce(iv, number) {
    const nonce = Buffer.from(iv), mask = cat(u32(0), u64(number));
    return nonce.map((b, i) => b ^ mask[i]);
  }
  sendPacket(payload, units) {
    const number = this.nextNumber++;
    const head = header(
      {
        ...{ flags: FLAG_ENCRYPTED, type: DATA, streamId: this.theirId, keyPhase: 1 },
        ...{ sequence: number % 2 ** 32, source: this.cid, dest: this.sid },
      },
      18,
      payload.length,
    );
    const aad = cat(u32(this.wire.vni), canonical(head)), keys = this.sendKeys;
    const nonce = this.nonce(keys["write iv"], number);
    const { text, tag } = seal(this.suite, keys["write key"], nonce, aad, payload);
    if (units.length > 0) this.sent.set(number, { units, at: performance.now() });
    this.stats.sent++;
    this.wire.send(frameOf(head, cat(u8(3), u8(16), tag), text));
  }
  /** Sends what may be sent, an acknowledgement in front where one waits. */
  flush(probe = false) {
    if (this.closed) return;
    for (const stream of this.streams.values()) stream.pump();
    while (this.queue.length > 0 && (probe || this.sent.size < IN_FLIGHT)) {
      const parts = this.ackWaiting > 0 ? [this.ackFrame()] : [], units = [];
      let length = parts[0]?.length ?? 0;
      while (this.queue.length > 0) {
        const frame = this.queue[0].make();
        if (units.length > 0 && length + frame.length > PACKET_BYTES) break;
        units.push(this.queue.shift());
        parts.push(frame);
        length += frame.length;
      }
      this.sendPacket(cat(...parts), units);
    }
    this.arm();
  }
  arm() {
    clearTimeout(this.ptoTimer);
    if (this.sent.size === 0 || this.closed) return;
    this.ptoTimer = setTimeout(() => this.probe(), this.pto * 2 ** this.ptoCount);
  }
  get pto() {
    const { smoothed, variation } = this.rtt;
    return smoothed + Math.max(4 * variation, 10) + this.peer.maxAckDelayUs / 1000;
  }
  /** The timer ran out: the oldest packets are sent again under new numbers. */
  probe() {
    this.ptoCount = Math.min(this.ptoCount + 1, 4);
    this.lost([...this.sent.keys()].slice(0, 2));
    this.flush(true);
  }
  lost(numbers) {
    const again = [];
    for (const number of numbers) {
      again.push(...this.sent.get(number).units.filter((unit) => !unit.once));
      this.sent.delete(number);
      this.stats.resent++;
    }
    this.queue.unshift(...again);
  }

  // acknowledging

  noteReceived(number) {
    const list = this.received64;
    let i = list.findIndex(([high]) => high < number);
    if (i < 0) i = list.length;
    list.splice(i, 0, [number, number]);
    for (let j = Math.min(i, list.length - 2); j >= Math.max(0, i - 1); j--) {
      if (list[j][1] === list[j + 1][0] + 1) list.splice(j, 2, [list[j][0], list[j + 1][1]]);
    }
    while (list.at(-1)[0] <= list[0][0] - REPLAY) list.pop();
  }
  ackFrame() {
    clearTimeout(this.ackTimer);
    this.ackTimer = undefined;
    this.ackWaiting = 0;
    const ranges = this.received64.slice(0, 32), [high, low] = ranges[0];
    const rest = ranges.slice(1).map(([h, l], i) => cat(u32(ranges[i][1] - h - 2), u32(h - l)));
    const head = cat(u8(0x20), u8(0), u64(high), u32(0), u8(rest.length), u32(high - low));
    return cat(head, ...rest);
  }
  acknowledge(atOnce) {
    this.ackWaiting++;
    const send = () => this.ackWaiting > 0 && !this.closed && this.sendPacket(this.ackFrame(), []);
    if (atOnce || this.ackWaiting >= 2) return send();
    this.ackTimer ??= setTimeout(send, LIMITS.maxAckDelayUs / 1000);
  }
  acked(r) {
    const flags = r.u8(), largest = r.u64();
    r.u32(); // ack_delay_us
    const count = r.u8();
    must(largest < this.nextNumber, "PROTOCOL_VIOLATION");
    const ranges = [];
    let high = largest, low = high - r.u32();
    for (let i = 0;; i++) {
      must(low >= 0, "FRAME_ENCODING");
      ranges.push([high, low]);
      if (i === count) break;
      high = low - r.u32() - 2;
      low = high - r.u32();
    }
    if (flags & 1) r.take(24);
    const newest = this.sent.get(largest);
    if (newest !== undefined) {
      const sample = performance.now() - newest.at, t = this.rtt;
      if (!t.sampled) Object.assign(t, { smoothed: sample, variation: sample / 2, sampled: true });
      t.variation = 0.75 * t.variation + 0.25 * Math.abs(t.smoothed - sample);
      t.smoothed = 0.875 * t.smoothed + 0.125 * sample;
    }
    for (const [number, packet] of [...this.sent]) {
      if (!ranges.some(([h, l]) => number <= h && number >= l)) continue;
      this.sent.delete(number);
      this.ptoCount = 0;
      for (const unit of packet.units) unit.acked?.();
    }
    this.lost([...this.sent.keys()].filter((number) => number + 3 <= largest));
  }

  // receiving

  received(frame) {
    if (frame.streamId !== this.connectionId || frame.keyPhase !== 1) return;
    const largest = this.received64[0]?.[0] ?? -1, expected = largest + 1, space = 2 ** 32;
    let number = Math.floor(expected / space) * space + frame.sequence;
    if (number - expected > space / 2) number -= space;
    if (expected - number > space / 2) number += space;
    if (number < 0 || number <= largest - REPLAY) return;
    if (this.received64.some(([h, l]) => number <= h && number >= l)) return;
    const aad = cat(u32(this.wire.vni), frame.aad), keys = this.receiveKeys;
    const nonce = this.nonce(keys["write iv"], number);
    const payload = open(this.suite, keys["write key"], nonce, aad, frame.payload, frame.tag);
    if (payload === undefined) return trace("a frame did not open");
    this.stats.received++;
    this.noteReceived(number);
    clearTimeout(this.idleTimer);
    const idle = this.idleMs ?? LIMITS.idleTimeoutMs;
    this.idleTimer = setTimeout(() => this.finish("idle timeout"), idle);
    if (!this.heard) {
      this.heard = true;
      this.onFirst();
    }
    this.packet(payload, number !== expected);
  }
  packet(payload, outOfOrder) {
    let eliciting = false, atOnce = outOfOrder;
    try {
      const r = new Reader(payload);
      while (r.left > 0 && !this.closed) {
        const type = r.u8();
        if (![0, 3, 4, 0x20, 0x21, 0x23, 0x40].includes(type)) eliciting = true;
        if (type === 2) atOnce = true;
        this.frame(type, r);
      }
    } catch (cause) {
      const reason = REASON[cause.reason] ?? REASON.FRAME_ENCODING;
      trace("closing:", cause.message);
      return this.close(reason, cause.message);
    }
    if (this.closed) return;
    if (eliciting) this.acknowledge(atOnce);
    this.flush();
  }
  frame(type, r) {
    switch (type) {
      case 0:
        return;
      case 2:
        return this.parameters(r);
      case 3: { // CONN_CLOSE
        const reason = r.u32(), phrase = r.bytes8().toString();
        this.sendPacket(u8(4), []);
        return this.finish(`the peer closed: ${reason} ${phrase}`);
      }
      case 4:
        return this.finish("closed");
      case 5:
        return void this.reply(cat(u8(6), r.take(8)));
      case 6:
        return void r.take(8);
      case 0x20:
        return this.acked(r);
      case 0x21: // DATA_NACK: a hint; our own loss detection brings everything
        return void r.take(9 * r.u8());
      case 0x40: // CONGESTION: for the information of operators
        return void r.take(16);
      case 0x30:
        return void this.reply(cat(u8(0x31), r.take(8)));
      case 0x31:
        return void r.take(8);
      case 0x10: {
        const id = r.u32(), mode = r.u8(), priority = r.u8(), window = r.u64();
        must(priority <= 15 && mode >= RO && mode <= BE, "FRAME_ENCODING");
        const stream = this.streamOf(id, mode);
        if (stream === undefined) return;
        stream.sendLimit = Math.max(stream.sendLimit, window);
        return void this.reply(cat(u8(0x11), u32(id), u64(stream.recvLimit)));
      }
      case 0x50: {
        const id = r.u32(), offset = r.u64();
        return this.streamOf(id, RO)?.data(offset, r.bytes16());
      }
      case 0x51: {
        const mode = r.u8() & 7, id = r.u32(), number = r.u64(), total = r.u32(), offset = r.u32();
        const bytes = r.bytes16();
        must(offset + bytes.length <= total, "FRAME_ENCODING");
        must(bytes.length > 0 || total === 0, "FRAME_ENCODING");
        return this.streamOf(id, mode)?.part(number, total, offset, bytes);
      }
    }
    if (type === 0x22) { // WINDOW_UPDATE
      const id = r.u32(), limit = r.u64();
      if (id === 0) return void (this.sendLimit = Math.max(this.sendLimit, limit));
      const stream = this.streamOf(id);
      return void (stream && (stream.sendLimit = Math.max(stream.sendLimit, limit)));
    }
    must(type >= 0x11 && type <= 0x15, "FRAME_ENCODING");
    const id = r.u32();
    const [a, b] = { 0x11: [r.u64], 0x12: [r.u64], 0x13: [r.u32, r.u64], 0x14: [], 0x15: [r.u32] }[
      type
    ].map((read) => read());
    const stream = this.streamOf(id);
    if (stream === undefined) return;
    if (type === 0x11) {
      stream.openAcked = true;
      stream.sendLimit = Math.max(stream.sendLimit, a);
    }
    if (type === 0x12) stream.ended(a);
    if (type === 0x13) stream.reset(a, b);
    if (type === 0x14) this.forget(id);
    if (type === 0x15 && !stream.closeSent) { // the peer gave our direction up
      stream.queue = [];
      stream.closing = stream.closeSent = true;
      const final = stream.mode === RO ? stream.sendOffset : 0;
      const acked = () => (stream.closeAcked = true, stream.settle());
      stream.control(() => cat(u8(0x13), u32(id), u32(a), u64(final)), acked);
    }
  }
  reply(frame) {
    this.queue.push({ make: () => frame });
  }
  /** The stream; opens the peer's when `mode` is given. Undefined when it is forgotten. */
  streamOf(id, mode) {
    const known = this.streams.get(id);
    must(known === undefined || mode === undefined || known.mode === mode, "STREAM_STATE");
    if (known !== undefined || this.forgotten.has(id)) return known;
    must(mode !== undefined && id >= 0x80000000 && id % 2 === 0, "STREAM_STATE");
    const theirs = [...this.streams.values()].filter((s) => !s.mine).length;
    must(theirs < LIMITS.maxStreams, "STREAM_LIMIT");
    const stream = new Stream(this, id, mode, this.peer);
    this.streams.set(id, stream);
    this.onStream?.(stream);
    return stream;
  }
  parameters(r) {
    must(r.u16() === 1 && r.take(16).equals(this.sid), "PROTOCOL_VIOLATION");
    const p = { maxStreams: r.u32(), maxData: r.u64(), streamWindow: r.u64() };
    Object.assign(p, { streamMessages: r.u32(), maxMessage: r.u32(), maxAckDelayUs: r.u32() });
    p.idleTimeoutMs = r.u32();
    r.bytes16();
    this.peer = p;
    this.idleMs = Math.min(p.idleTimeoutMs || Infinity, LIMITS.idleTimeoutMs);
    this.sendLimit = Math.max(this.sendLimit, p.maxData);
    for (const s of this.streams.values()) s.sendLimit = Math.max(s.sendLimit, p.streamWindow);
  }

  // ending

  /** CONN_CLOSE, again each PTO until it is answered, at most three times. */
  close(reason = 0, phrase = "") {
    const frame = cat(u8(3), u32(reason), bytes8(Buffer.from(phrase).subarray(0, 255)));
    const again = (left) => {
      if (this.closed) return;
      if (left === 0) return this.finish("close was not answered");
      this.sendPacket(frame, []);
      this.closeTimer = setTimeout(() => again(left - 1), this.pto);
    };
    clearTimeout(this.closeTimer);
    again(3);
    return this.ended;
  }
  finish(why) {
    if (this.closed) return;
    this.abandon();
    this.end(why);
    this.onClosed?.(new Error(why));
    setTimeout(() => this.wire.close(), 5); // lets the last datagram out
  }
  abandon() {
    this.closed = true;
    for (const t of ["pto", "ack", "idle", "close"]) clearTimeout(this[`${t}Timer`]);
  }
}

// ---------------------------------------------------------------- §8 the application

class Application {
  constructor(connection, trust) {
    Object.assign(this, { connection, trust, nextRequest: 1, requests: new Map() });
    this.adverts = new Map(); // by node id, the highest sequence
    connection.onStream = (stream) => this.attach(stream);
    connection.onClosed = (cause) => this.requests.forEach((request) => request.fail(cause));
  }
  attach(stream) {
    let buffered = EMPTY;
    stream.onBytes = (bytes) => {
      buffered = cat(buffered, bytes);
      while (buffered.length >= 16) {
        const end = 16 + buffered.readUInt32BE(8);
        need(end <= 16 + 2 ** 26, "a body of more than 64 MiB");
        if (buffered.length < end) return;
        this.message(stream, buffered.subarray(0, end));
        buffered = buffered.subarray(end);
      }
    };
    stream.onMessage = (bytes) => this.message(stream, bytes);
    return stream;
  }
  message(stream, bytes) {
    const name = NAME_OF_TYPE[bytes.readUInt16BE(0)], requestId = bytes.readUInt32BE(4);
    need(name !== undefined, "a message of an unknown type");
    const value = decodeBody(name, bytes.subarray(16, 16 + bytes.readUInt32BE(8)));
    trace(`${hex(u32(stream.id))} ${name} ${requestId}`);
    if (name === "Advertisements") return this.advertised(value);
    if (name === "HealthCheck") {
      return stream.sendBestEffort(message("HealthStatus", requestId, {}));
    }
    this.requests.get(requestId)?.on(name, value, stream);
  }
  advertised({ adverts }) {
    for (const bytes of adverts) {
      const ad = parseAdvertisement(bytes, this.trust), id = hex(ad.nodeId);
      if (ad.sequence > (this.adverts.get(id)?.sequence ?? -1)) this.adverts.set(id, ad);
    }
    this.onAdverts?.();
  }
  /** Sends one request and resolves with what `on` makes of the answers. */
  request(mode, name, value, on) {
    const stream = this.attach(this.connection.openStream(mode)), id = this.nextRequest++;
    return new Promise((resolve, reject) => {
      const settled = (act) => (v) => {
        this.requests.delete(id);
        if (mode !== BE || name === "HealthCheck") stream.close();
        act(v);
      };
      const done = settled(resolve), fail = settled(reject);
      this.requests.set(id, {
        fail,
        on: (answer, v, from) => on({ answer, value: v, done, fail, stream, id, from }),
      });
      const bytes = message(name, id, value);
      mode === BE ? stream.sendBestEffort(bytes) : stream.write(bytes);
    });
  }
  expect(mode, name, value, wanted) {
    return this.request(mode, name, value, ({ answer, value: v, done, fail }) => {
      if (answer === wanted) return done(v);
      fail(new Error(`${answer} ${v.code ?? ""}: ${v.text ?? ""}`));
    });
  }
  /** Best effort: asks again when nothing came. */
  async health() {
    for (let i = 0; i < 20; i++) {
      const asked = this.expect(BE, "HealthCheck", { models: true }, "HealthStatus");
      const late = new Promise((resolve) => setTimeout(resolve, 500));
      const answer = await Promise.race([asked, late]);
      if (answer !== undefined) return answer;
    }
    throw new Error("no answer to HEALTH_CHECK");
  }
  pull() {
    const stream = this.attach(this.connection.openStream(RO));
    stream.write(message("AdvertisementPull", 0, {}));
    return new Promise((resolve) =>
      this.onAdverts = () => (stream.close(), resolve([...this.adverts.values()]))
    );
  }
  async whole(sad, prompt) {
    const value = { model: sad, messages: [userSays(prompt)] };
    return await this.expect(RO, "InferenceRequest", value, "InferenceResponse");
  }
  /** A streamed request; `onToken` returns "cancel" to cancel it, which ends it with an ERROR. */
  streamed(sad, prompt, { hold = false, onToken }) {
    const state = { text: "", next: 0, chunks: new Map(), start: undefined, end: undefined };
    const value = { model: sad, messages: [userSays(prompt)], stream: true };
    return this.request(RO, "InferenceRequest", value, (event) => {
      const { answer, value: v, done, stream, id, from } = event;
      if (answer === "TokenStreamStart") state.start = v;
      if (answer === "Error") return done({ ...state, error: v });
      if (answer === "TokenStreamEnd") state.end = v;
      if (answer === "TokenStreamChunk") {
        state.from = from;
        state.chunks.set(v.sequence, v);
      }
      if (state.from !== undefined) { // a CANCEL that came after END is not answered: take the rest
        state.from.hold = hold && state.end === undefined;
        state.from.settle();
      }
      for (let c; (c = state.chunks.get(state.next)) !== undefined; state.next++) {
        state.text += c.text;
        state.finishReason = c.finishReason ?? state.finishReason;
        if (onToken(c.text) === "cancel") {
          stream.write(message("Cancel", id, { reason: "enough" }));
        }
      }
      if (state.end !== undefined && state.next === state.end.chunks) done(state);
    });
  }
}
const userSays = (text) => ({ role: 3, parts: [text] });

// ---------------------------------------------------------------- main

const trace = (...what) => {
  if (process.env.TRACE) console.error(...what);
};
const say = (event, facts = {}) => console.log(JSON.stringify({ event, ...facts }));

async function main(argv) {
  const options = { loss: "0", suites: "1,2" };
  while (argv[0]?.startsWith("--")) options[argv.shift().slice(2)] = argv.shift();
  const [token, sadText, prompt] = argv;
  need(prompt !== undefined, "usage: second_client.mjs [--loss n] [--suites 1,2] token SAD prompt");
  const invite = parseInvite(token), sad = encodeSad(sadText);
  const { privateKey, publicKey } = crypto.generateKeyPairSync("ed25519");
  const identity = { key: privateKey, publicKey: rawPublic(publicKey) };
  identity.nodeId = nodeIdOf(identity.publicKey);
  const trust = { rootFingerprint: invite.rootFingerprint, vni: invite.vni };
  const seed = invite.seeds[0];
  const to = {
    ...{ address: seed.address, destId: seed.nodeId, trust, identity, loss: Number(options.loss) },
    suites: options.suites.split(",").map(Number),
  };

  const own = chainBytes([selfSignedMic(identity, invite.vni)]);
  const joining = await connect({ ...to, chain: own, invite, sad: encodeSad("*") });
  const csr = { csr: csrOf(identity), name: "second" };
  const result = await new Application(joining, trust).expect(RO, "CsrSubmit", csr, "CsrResult");
  const chain = result.chain.map(parseMic), [leaf] = chain;
  verifyChain(chain, trust);
  need(leaf.publicKey.equals(identity.publicKey), "certified for another key");
  const role = valueOf(leaf.extensions, EXT.ROLE)?.[0];
  say("joined", { nodeId: hex(identity.nodeId), role, chain: chain.length });
  say("closed", { why: await joining.close() });

  const connection = await connect({ ...to, chain: chainBytes(result.chain), sad });
  const app = new Application(connection, trust), { suite } = connection;
  say("connected", { suite, server: hex(connection.sid) });
  for (const ad of await app.pull()) {
    const models = ad.models.map(({ name }) => name);
    say("advertisement", { nodeId: hex(ad.nodeId), models, endpoints: ad.endpoints });
  }
  const health = await app.health();
  say("health", { draining: health.draining, models: health.models.map(({ name }) => name) });

  const streamed = await app.streamed(sad, prompt, { onToken: (text) => say("token", { text }) });
  say("streamed", {
    ...{ text: streamed.text, chunks: streamed.next, error: streamed.error },
    ...{ finishReason: streamed.end?.finishReason, started: streamed.start?.model },
  });
  const { choices: [choice], usage } = await app.whole(sad, prompt);
  say("whole", { text: choice.text, finishReason: choice.finishReason, usage });

  let tokens = 0; // no more credit than for 64 chunks and a long answer: it cannot end before
  const onToken = () => ++tokens === 10 ? "cancel" : undefined;
  const long = "and one more word ".repeat(3000);
  const cancelled = await app.streamed(sad, long, { hold: true, onToken });
  say("cancelled", { code: cancelled.error?.code, text: cancelled.error?.text, tokens });
  const after = await app.whole(sad, "still there?");
  say("after", { text: after.choices[0].text });
  say("closed", { why: await connection.close(), ...connection.stats });
}

if (/second_client\.mjs$/.test(process.argv[1] ?? "")) {
  main(process.argv.slice(2)).catch((cause) => {
    console.error(process.env.TRACE ? cause : `second_client: ${cause.message}`);
    process.exit(1);
  });
}
