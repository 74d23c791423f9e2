/**
 * Fragments of handshake messages (docs/protocol.md §2.2, NL-F-006/007): cutting, and reassembly
 * in any order within fixed memory.
 *
 * A set holds the fragments of one message. Whatever a hostile sender does, a set holds at most
 * 16 fragments and 16,384 bytes, a source 32,768 bytes, the whole table 1 MiB; what does not fit
 * the rules discards the set, and when the table is full its oldest set gives way, so that a
 * flood of incomplete messages cannot shut out the honest one that completes at once.
 */
import { assert, NEVER, NexusError, toHex } from "../base/mod.ts";
import { PLAIN_OVERHEAD } from "./encode.ts";
import type { FrameInfo } from "./frame_info.ts";
import { DEST_NODE_ID_AT, Flag, OPTION_HEADER_BYTES, SOURCE_NODE_ID_AT } from "./gen/link.ts";

/** Limits of docs/protocol.md §2.2. */
export const FRAGMENTS_MAX = 16;
export const MESSAGE_BYTES_MAX = 16_384;
export const SOURCE_BYTES_MAX = 32_768;
export const REASSEMBLY_BYTES_MAX = 1024 * 1024;
export const SET_LIFE_US_MAX = 5_000_000;

/** Sets are bounded too, since one of a single byte costs objects: the half-open limits of §4.1. */
export const SOURCE_SETS_MAX = 64;
export const REASSEMBLY_SETS_MAX = 1024;

/** Bytes that FRAGMENT_INFO takes in the options. */
const FRAGMENT_OPTION_BYTES = OPTION_HEADER_BYTES + 6;

/** A piece of a message: the payload of one frame and what its FRAGMENT_INFO says. */
export interface Fragment {
  /** Where the piece starts in the message. */
  readonly offset: number;
  /** Number of fragments; 0 = the message fits one frame and needs no FRAGMENT_INFO. */
  readonly total: number;
  /** Sets the more_fragments flag. */
  readonly more: boolean;
  /** A view of the message, not a copy. */
  readonly bytes: Uint8Array;
}

/**
 * Cuts a message for frames of at most `frameBytesMax` bytes without other options. Throws
 * MESSAGE_TOO_LONG past the limits that every receiver has.
 */
export function fragment(message: Uint8Array, frameBytesMax: number): Fragment[] {
  if (message.length <= frameBytesMax - PLAIN_OVERHEAD) {
    return [{ offset: 0, total: 0, more: false, bytes: message }];
  }
  const pieceBytes = frameBytesMax - PLAIN_OVERHEAD - FRAGMENT_OPTION_BYTES;
  const total = pieceBytes < 1 ? Infinity : Math.ceil(message.length / pieceBytes);
  if (total > FRAGMENTS_MAX || message.length > MESSAGE_BYTES_MAX) {
    throw new NexusError(
      "MESSAGE_TOO_LONG",
      `cannot fragment message: ${message.length} bytes in frames of ${frameBytesMax}, ` +
        `expected at most ${MESSAGE_BYTES_MAX} bytes and ${FRAGMENTS_MAX} fragments`,
    );
  }
  return Array.from({ length: total }, (_, i) => ({
    offset: i * pieceBytes,
    total,
    more: i < total - 1,
    bytes: message.subarray(i * pieceBytes, (i + 1) * pieceBytes),
  }));
}

/** Counters of a Reassembler. */
export interface ReassemblyStats {
  /** Messages given out whole. */
  completed: number;
  /** Fragments that were there already. */
  duplicates: number;
  /** Fragments refused on their own (empty, or past the limits of a message), with their set. */
  refused: number;
  /** Sets thrown away because a fragment contradicted the others. */
  conflicts: number;
  /** Sets thrown away, or not begun, because their source held all it may. */
  sourceFull: number;
  /** Oldest sets that gave way because the whole table was full. */
  evicted: number;
  /** Sets that were not complete in time. */
  expired: number;
}

interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

interface FragmentSet {
  readonly key: string;
  readonly source: Source;
  readonly total: number;
  readonly deadlineUs: number;
  /** Sorted by offset, without overlaps. */
  readonly pieces: Piece[];
  bytes: number;
  /** Length of the message, -1 until its last fragment came. */
  end: number;
}

interface Source {
  readonly key: string;
  bytes: number;
  sets: number;
}

/** Collects fragments into messages. One per socket, so the VNI needs no place in the key. */
export class Reassembler {
  // In order of their first fragment, so also in order of their deadlines.
  readonly #sets = new Map<string, FragmentSet>();
  readonly #sources = new Map<string, Source>();
  readonly #stats: ReassemblyStats = {
    completed: 0,
    duplicates: 0,
    refused: 0,
    conflicts: 0,
    sourceFull: 0,
    evicted: 0,
    expired: 0,
  };
  #bytesHeld = 0;

  /** Payload bytes of all incomplete sets. */
  get bytesHeld(): number {
    return this.#bytesHeld;
  }

  /** Incomplete sets. */
  get setsHeld(): number {
    return this.#sets.size;
  }

  /** A copy of the counters. */
  stats(): ReassemblyStats {
    return { ...this.#stats };
  }

  /**
   * Takes the fragment that decodeFrame described (fragmentTotal not 0) from the UDP source named
   * by `sourceKey`. Returns the whole message, in memory of its own, when this was the last piece.
   */
  add(
    sourceKey: string,
    info: FrameInfo,
    bytes: Uint8Array,
    nowUs: number,
  ): Uint8Array | undefined {
    assert(info.fragmentTotal !== 0, "Reassembler.add needs a frame with FRAGMENT_INFO");
    this.expire(nowUs);
    const { fragmentOffset: offset, fragmentTotal: total, payloadLength: length } = info;
    const key = setKey(sourceKey, info, bytes);
    if (length === 0 || total > FRAGMENTS_MAX || offset + length > MESSAGE_BYTES_MAX) {
      this.#stats.refused++;
      const spoiled = this.#sets.get(key);
      if (spoiled !== undefined) this.#discard(spoiled);
      return undefined;
    }
    const set = this.#sets.get(key) ?? this.#begin(key, sourceKey, total, nowUs);
    if (set === undefined) return undefined;

    const last = (info.flags & Flag.MORE_FRAGMENTS) === 0;
    const place = placeOf(set, offset, length, total, last);
    if (place === Place.DUPLICATE) {
      this.#stats.duplicates++;
      return undefined;
    }
    if (place === Place.CONFLICT) {
      this.#stats.conflicts++;
      this.#discard(set);
      return undefined;
    }
    if (set.source.bytes + length > SOURCE_BYTES_MAX) {
      this.#stats.sourceFull++;
      this.#discard(set);
      return undefined;
    }
    this.#makeRoom(set, length);
    // A copy, because the frame's slot goes back to its port.
    const copy = bytes.slice(info.payloadOffset, info.payloadOffset + length);
    set.pieces.splice(place, 0, { offset, bytes: copy });
    if (last) set.end = offset + length;
    set.bytes += length;
    set.source.bytes += length;
    this.#bytesHeld += length;
    return set.pieces.length === total ? this.#complete(set) : undefined;
  }

  /** Drops the sets whose time is over. */
  expire(nowUs: number): void {
    for (const set of this.#sets.values()) {
      if (set.deadlineUs > nowUs) return;
      this.#stats.expired++;
      this.#discard(set);
    }
  }

  /** When `expire` has something to do, NEVER while nothing is held. */
  nextTimeoutUs(): number {
    for (const set of this.#sets.values()) return set.deadlineUs;
    return NEVER;
  }

  #begin(key: string, sourceKey: string, total: number, nowUs: number): FragmentSet | undefined {
    const source = this.#sources.get(sourceKey) ?? { key: sourceKey, bytes: 0, sets: 0 };
    if (source.sets >= SOURCE_SETS_MAX) {
      this.#stats.sourceFull++;
      return undefined;
    }
    if (this.#sets.size >= REASSEMBLY_SETS_MAX) this.#evictOldest();
    const set: FragmentSet = {
      key,
      source,
      total,
      deadlineUs: nowUs + SET_LIFE_US_MAX,
      pieces: [],
      bytes: 0,
      end: -1,
    };
    source.sets++;
    this.#sources.set(sourceKey, source);
    this.#sets.set(key, set);
    return set;
  }

  /** Evicts until `length` more bytes fit. `wanted` itself stays: alone it is below the limit. */
  #makeRoom(wanted: FragmentSet, length: number): void {
    for (const set of this.#sets.values()) {
      if (this.#bytesHeld + length <= REASSEMBLY_BYTES_MAX) return;
      if (set === wanted) continue;
      this.#stats.evicted++;
      this.#discard(set);
    }
  }

  #evictOldest(): void {
    for (const set of this.#sets.values()) {
      this.#stats.evicted++;
      this.#discard(set);
      return;
    }
  }

  /** All pieces are here; they make the message if they leave no hole. */
  #complete(set: FragmentSet): Uint8Array | undefined {
    this.#discard(set);
    if (set.end !== set.bytes) {
      this.#stats.conflicts++;
      return undefined;
    }
    const message = new Uint8Array(set.end);
    for (const { offset, bytes } of set.pieces) message.set(bytes, offset);
    this.#stats.completed++;
    return message;
  }

  #discard(set: FragmentSet): void {
    this.#sets.delete(set.key);
    this.#bytesHeld -= set.bytes;
    set.source.bytes -= set.bytes;
    set.source.sets--;
    if (set.source.sets === 0) this.#sources.delete(set.source.key);
  }
}

/** The reassembly key: UDP source, node ids, stream_id, sequence_number. */
function setKey(sourceKey: string, info: FrameInfo, bytes: Uint8Array): string {
  const ids = bytes.subarray(info.offset + SOURCE_NODE_ID_AT, info.offset + DEST_NODE_ID_AT + 16);
  return `${toHex(ids)} ${info.streamId} ${info.sequence} ${sourceKey}`;
}

/** What placeOf says beside an index. */
const Place = { DUPLICATE: -1, CONFLICT: -2 } as const;

/** Index at which the fragment belongs among the pieces, DUPLICATE, or CONFLICT. */
function placeOf(
  set: FragmentSet,
  offset: number,
  length: number,
  total: number,
  last: boolean,
): number {
  const end = offset + length;
  if (total !== set.total) return Place.CONFLICT;
  const endKnown = set.end >= 0;
  if (endKnown && (last ? end !== set.end : end >= set.end)) {
    return Place.CONFLICT;
  }
  let index = 0;
  while (index < set.pieces.length && set.pieces[index].offset < offset) index++;
  const before = set.pieces[index - 1];
  const after = set.pieces[index];
  if (after !== undefined && after.offset === offset && after.bytes.length === length) {
    // The same range; it must also agree on being the last.
    return last === (endKnown && set.end === end) ? Place.DUPLICATE : Place.CONFLICT;
  }
  if (before !== undefined && before.offset + before.bytes.length > offset) return Place.CONFLICT;
  if (after !== undefined && (after.offset < end || last)) return Place.CONFLICT;
  return index;
}
