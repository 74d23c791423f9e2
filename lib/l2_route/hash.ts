/**
 * Weighted rendezvous hashing: which member of a group a key belongs to. Each member draws a number
 * from (key, member); the best draw wins. A member that leaves gives up only its own keys, one that
 * joins takes only its share, so about 1/N of the keys move (Thaler and Ravishankar 1998). Draws of
 * −weight / ln(uniform) make the share proportional to the weight (Schindelhauer and Schomaker
 * 2005), and a changed weight moves keys only to or from that member.
 */
import { concat, utf8 } from "../base/mod.ts";

/** A member of a group and its share. */
export interface Member {
  readonly id: string;
  /** Above 0. */
  readonly weight: number;
}

/** The members in the order in which they should serve the key, owner first; ties by id. */
export function rankMembers<M extends Member>(members: readonly M[], key: Uint8Array): M[] {
  return members
    .map((member) => ({ member, draw: draw(member, key) }))
    .sort((a, b) => b.draw - a.draw || (a.member.id < b.member.id ? -1 : 1))
    .map(({ member }) => member);
}

/** Key of requests without affinity: the node that asks and its stream. */
export function requesterKey(sourceNodeId: Uint8Array, streamId: number): Uint8Array {
  return concat(
    sourceNodeId,
    Uint8Array.of(streamId >>> 24, streamId >>> 16, streamId >>> 8, streamId),
  );
}

/** MurmurHash3_x86_32 (Appleby, public domain). Not for anything that an attacker must not steer. */
export function murmur3(bytes: Uint8Array, seed: number): number {
  let hash = seed | 0;
  const blocksEnd = bytes.length & ~3;
  for (let i = 0; i < blocksEnd; i += 4) {
    hash ^= mixBlock(bytes[i] | bytes[i + 1] << 8 | bytes[i + 2] << 16 | bytes[i + 3] << 24);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let i = bytes.length - 1; i >= blocksEnd; i--) tail = tail << 8 | bytes[i];
  if (blocksEnd < bytes.length) hash ^= mixBlock(tail);
  hash ^= bytes.length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function mixBlock(block: number): number {
  const k = Math.imul(block, 0xcc9e2d51);
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593);
}

function draw(member: Member, key: Uint8Array): number {
  const bytes = concat(key, utf8(member.id));
  const high = murmur3(bytes, 0x6e657875); // "nexu": two hashes of different seeds make 53 bits
  const low = murmur3(bytes, 0x726f7574); // "rout"
  const uniform = (high * 2097152 + (low >>> 11) + 0.5) / 9007199254740992;
  return -member.weight / Math.log(uniform);
}
