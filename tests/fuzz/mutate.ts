/** Mutations of byte strings in place, after the stock ones of AFL ("havoc"). */
import type { SeededRandom } from "../../lib/base/mod.ts";

/** Values at which lengths and counters go wrong. */
const EDGES = [0, 1, 2, 3, 4, 15, 16, 17, 63, 64, 67, 68, 127, 128, 191, 192, 193, 254, 255];

/**
 * Changes `bytes[0 … length)` a few times and returns the new length, at most `lengthMax`, which
 * the array has. `donor` gives bytes for splicing.
 */
export function mutate(
  bytes: Uint8Array,
  length: number,
  lengthMax: number,
  random: SeededRandom,
  donor: Uint8Array,
): number {
  let now = length;
  for (let rounds = 1 + random.below(4); rounds > 0; rounds--) {
    now = mutateOnce(bytes, now, lengthMax, random, donor);
  }
  return now;
}

function mutateOnce(
  bytes: Uint8Array,
  length: number,
  lengthMax: number,
  random: SeededRandom,
  donor: Uint8Array,
): number {
  const at = random.below(Math.max(1, length));
  switch (random.below(8)) {
    case 0:
      bytes[at] ^= 1 << random.below(8);
      return length;
    case 1:
      bytes[at] = random.u32() & 0xff;
      return length;
    case 2:
      bytes[at] = EDGES[random.below(EDGES.length)];
      return length;
    case 3:
      // Where header fields and the first options stand, not payload.
      bytes[random.below(Math.min(length, 100)) || 0] += random.chance(0.5) ? 1 : 255;
      return length;
    case 4: {
      // Remove a range.
      const count = 1 + random.below(Math.min(16, length - at));
      bytes.copyWithin(at, at + count, length);
      return Math.max(0, length - count);
    }
    case 5: {
      // Repeat a range behind itself.
      const count = Math.min(1 + random.below(24), length - at, lengthMax - length);
      bytes.copyWithin(at + count, at, length);
      return length + count;
    }
    case 6: {
      // Overwrite with bytes of another input.
      const from = random.below(Math.max(1, donor.length));
      const count = Math.min(1 + random.below(40), length - at, donor.length - from);
      for (let i = 0; i < count; i++) bytes[at + i] = donor[from + i];
      return length;
    }
    default:
      return random.below(4) === 0 ? random.below(length + 1) : length;
  }
}
