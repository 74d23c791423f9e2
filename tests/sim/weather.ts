/** Random faults of every kind, which change while a run lasts and end when the network heals. */
import type { SeededRandom } from "../../lib/base/mod.ts";
import type { LinkOptions, SimNetwork } from "./network.ts";

/** Smallest IP packet that a path of ours must carry: a frame of 1,200 bytes and 36 around it. */
const MTU_BYTES_MIN = 1_236;
/** Longest that a path carries nothing at all: no connection may give up for it. */
const DARK_US_MAX = 2_000_000;
/** What holds once the network has healed: nothing is lost but by its queue. */
const HEALED_RATE_BPS = 20e6;
const HEALED_QUEUE = 200;

/** One direction of a path. */
export function randomLink(random: SeededRandom, nowUs = 0): LinkOptions {
  const sometimes = (chance: number, value: number) => random.chance(chance) ? value : 0;
  const within = (us: number) => nowUs + random.below(us);
  const darkUs = within(DARK_US_MAX);
  const options: LinkOptions = {
    headerBytes: 36,
    delayUs: 2 ** (6 + random.below(11)),
    jitterUs: sometimes(0.4, random.below(20_000)),
    rateBps: random.chance(0.7) ? 1e6 * 2 ** random.below(8) : undefined,
    queueMax: 8 + random.below(200),
    markAt: random.chance(0.2) ? 4 + random.below(30) : undefined,
    aqm: random.chance(0.3) ? "codel" : undefined,
    ecnField: random.chance(0.1) ? random.below(4) : undefined,
    lossRate: sometimes(0.6, random.float() * (random.chance(0.1) ? 0.6 : 0.3)),
    lossRunMax: random.chance(0.3) ? 1 + random.below(4) : undefined,
    burst: random.chance(0.2) ? { enter: 0.005, leave: 0.05 + random.float() / 2 } : undefined,
    reorderRate: sometimes(0.4, random.float() * 0.3),
    reorderDelayUs: random.below(30_000),
    duplicateRate: sometimes(0.3, random.float() * 0.3),
    corruptRate: sometimes(0.3, random.float() * 0.1),
    mtuBytes: random.chance(0.5) ? MTU_BYTES_MIN + random.below(1_000) : undefined,
  };
  if (random.chance(0.2)) {
    options.blackholes = [{ fromUs: darkUs, untilUs: darkUs + random.below(DARK_US_MAX) }];
  }
  if (random.chance(0.2)) {
    options.mtuChange = {
      atUs: within(3_000_000),
      mtuBytes: MTU_BYTES_MIN + random.below(300),
    };
  }
  if (random.chance(0.1)) {
    options.outage = { onUs: 200_000 + random.below(2e6), offUs: random.below(1e6) };
  }
  return options;
}

/** The same path without faults. */
function healed({ delayUs }: LinkOptions): LinkOptions {
  return { headerBytes: 36, delayUs, rateBps: HEALED_RATE_BPS, queueMax: HEALED_QUEUE };
}

/**
 * Joins two hosts by a path with faults, changes them up to three times, and lets the network heal
 * at a random time within `healsWithinUs`, which is returned.
 */
export function changeableWeather(
  network: SimNetwork,
  a: string,
  b: string,
  healsWithinUs: number,
): number {
  const random = network.random("weather");
  network.link(a, b, randomLink(random), randomLink(random));
  const links = [network.linkBetween(a, b), network.linkBetween(b, a)];
  const healsUs = random.below(healsWithinUs);
  for (let i = random.below(4); i > 0; i--) {
    network.at(random.below(healsUs + 1), () => {
      const link = links[random.below(2)];
      link.options = randomLink(random, network.nowUs);
      network.note("weather", "changes");
    });
  }
  // Later than every change at the same time.
  network.at(healsUs + 1, () => {
    for (const link of links) link.options = healed(link.options);
    network.note("weather", "heals");
  });
  return healsUs;
}
