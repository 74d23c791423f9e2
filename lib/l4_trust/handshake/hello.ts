/** HELLO (protocol.md §4.2): the client's clear opening. */
import { ByteReader, ByteWriter, NODE_ID_BYTES, toHex } from "../../base/mod.ts";
import { KEY_BYTES } from "../engine.ts";
import { malformed } from "../mic/claims.ts";
import { SUITES_READ_MAX } from "./limits.ts";
import {
  finishMessage,
  HANDSHAKE_MESSAGE,
  MESSAGE_HEADER_BYTES,
  readMessage,
  startMessage,
} from "./message.ts";

/** Fields of a HELLO. */
export interface Hello {
  readonly clientId: Uint8Array;
  /** All zero: whoever answers at the address. */
  readonly destId: Uint8Array;
  readonly vni: number;
  readonly connectionId: number;
  readonly ephemeral: Uint8Array;
  /** In order of preference. */
  readonly suites: readonly number[];
  readonly wantedLevel: number;
  /** Clear part of the SAD. */
  readonly sad: Uint8Array;
  readonly cookie: Uint8Array;
  readonly ticket: Uint8Array;
}

const WANTED_LEVEL_MAX = 4;

/** The message. */
export function encodeHello(hello: Hello): Uint8Array<ArrayBuffer> {
  const { suites, sad, cookie, ticket } = hello;
  const variableBytes = 2 * suites.length + sad.length + cookie.length + ticket.length;
  const writer = startMessage(new ByteWriter(128 + variableBytes), HANDSHAKE_MESSAGE.hello)
    .put(hello.clientId)
    .put(hello.destId)
    .u32(hello.vni)
    .u32(hello.connectionId)
    .put(hello.ephemeral)
    .u8(suites.length);
  for (const suite of suites) writer.u16(suite);
  writer.u8(hello.wantedLevel).bytes16(sad).bytes16(cookie).bytes16(ticket);
  return finishMessage(writer, 0);
}

/** Reads a message; MALFORMED when a field is cut short or out of range. Later fields are ignored. */
export function decodeHello(message: Uint8Array): Hello {
  const reader = bodyReader(message);
  const clientId = reader.take(NODE_ID_BYTES);
  const destId = reader.take(NODE_ID_BYTES);
  const vni = reader.u32();
  const connectionId = reader.u32();
  if (connectionId === 0) throw malformed("HELLO", "connection id is 0");
  const ephemeral = reader.take(KEY_BYTES);
  const suites = readSuites(reader);
  const wantedLevel = reader.u8();
  if (wantedLevel > WANTED_LEVEL_MAX) throw malformed("HELLO", `wanted level is ${wantedLevel}`);
  const sad = reader.bytes16();
  const cookie = reader.bytes16();
  const ticket = reader.bytes16();
  return {
    clientId,
    destId,
    vni,
    connectionId,
    ephemeral,
    suites,
    wantedLevel,
    sad,
    cookie,
    ticket,
  };
}

/** The message as the transcript has it: its cookie replaced by an empty one. */
export function helloTranscript(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const reader = bodyReader(message);
  reader.take(2 * NODE_ID_BYTES + 8 + KEY_BYTES);
  reader.take(2 * reader.u8() + 1);
  reader.bytes16();
  const cookieAt = MESSAGE_HEADER_BYTES + reader.offset;
  const cookieBytes = reader.bytes16().length;
  const out = new Uint8Array(message.length - cookieBytes);
  out.set(message.subarray(0, cookieAt));
  out.set(message.subarray(cookieAt + 2 + cookieBytes), cookieAt + 2);
  return out;
}

/** What tells one attempt from another: client id, connection id and ephemeral, as text. */
export function helloKeyOf(payload: Uint8Array): string | undefined {
  const message = readMessage(payload);
  if (message?.type !== HANDSHAKE_MESSAGE.hello) return undefined;
  try {
    return helloKey(decodeHello(message.message));
  } catch {
    return undefined;
  }
}

/** The key of a decoded HELLO. */
export function helloKey({ clientId, connectionId, ephemeral }: Hello): string {
  return `${toHex(clientId)}.${connectionId.toString(16)}.${toHex(ephemeral)}`;
}

function bodyReader(message: Uint8Array): ByteReader {
  return new ByteReader(message.subarray(MESSAGE_HEADER_BYTES), "HELLO");
}

function readSuites(reader: ByteReader): number[] {
  const suites: number[] = [];
  for (let left = reader.u8(); left > 0; left--) {
    const suite = reader.u16();
    if (suites.length < SUITES_READ_MAX) suites.push(suite);
  }
  return suites;
}
