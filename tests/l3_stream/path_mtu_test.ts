/** Path MTU discovery: the search alone, and on connections over a path with a largest frame. */
import assert from "node:assert/strict";
import {
  MTU_ATTEMPTS_MAX,
  MTU_FLIGHTS_LOST_MAX,
  MTU_PROBES_MAX,
  MTU_RAISE_US,
  PathMtu,
} from "../../lib/l3_stream/path_mtu.ts";
import {
  MODE_BEST_EFFORT,
  MODE_RELIABLE_ORDERED,
  MODE_RELIABLE_UNORDERED,
} from "../../lib/l3_stream/mod.ts";
import { equalBytes, NEVER, SeededRandom } from "../../lib/base/mod.ts";
import { drain, Pair, pattern, readAll, WIDE } from "./harness.ts";

const LOOPBACK = 65_499;
const BASE = 1_200;

/** Probes until nothing is left to try on a path that carries `carries`; the sizes tried. */
function search(mtu: PathMtu, carries: number, nowUs = 0, isLost = () => false): number[] {
  const sizes: number[] = [];
  for (let size = mtu.probeBytes(nowUs); size > 0; size = mtu.probeBytes(nowUs)) {
    sizes.push(size);
    mtu.onProbeSent(sizes.length);
    if (size <= carries && !isLost()) mtu.onProbeAcked(size);
    else mtu.onProbeLost(size);
  }
  return sizes;
}

Deno.test("path MTU: loopback is found with one probe", () => {
  const mtu = new PathMtu(LOOPBACK, true);
  assert.equal(mtu.frameBytes, BASE);
  assert.deepEqual(search(mtu, LOOPBACK), [LOOPBACK]);
  assert.equal(mtu.frameBytes, LOOPBACK);
  assert.equal(mtu.probeBytes(NEVER - 1), 0, "nothing larger to look for, ever");
});

Deno.test("path MTU: usual links are used in full after a handful of probes", () => {
  for (const [carries, probes] of [[8_964, 2], [8_944, 3], [1_464, 4], [1_444, 5], [1_422, 6]]) {
    const mtu = new PathMtu(LOOPBACK, true);
    const sizes = search(mtu, carries);
    assert.equal(mtu.frameBytes, carries);
    assert.equal(sizes.indexOf(carries) + 1, probes, `probes until ${carries}`);
  }
});

Deno.test("path MTU: any other path is used to fifteen sixteenths within the bound of probes", () => {
  for (let carries = BASE; carries <= LOOPBACK; carries += 257) {
    const mtu = new PathMtu(LOOPBACK, true);
    const sizes = search(mtu, carries);
    assert(sizes.length <= MTU_PROBES_MAX);
    assert(mtu.frameBytes <= carries);
    assert(mtu.frameBytes >= carries * 15 / 16 || carries - mtu.frameBytes <= 16, `${carries}`);
  }
});

Deno.test("path MTU: a size is given up after three losses, not after one", () => {
  const mtu = new PathMtu(LOOPBACK, true);
  const sizes = search(mtu, 1_464);
  assert.equal(sizes.filter((size) => size === 8_944).length, MTU_ATTEMPTS_MAX);
  let losses = 2;
  const lossy = new PathMtu(LOOPBACK, true);
  search(lossy, LOOPBACK, 0, () => losses-- > 0);
  assert.equal(lossy.frameBytes, LOOPBACK, "the first two probes were lost by chance");
});

Deno.test("path MTU: a probe lost beside other packets says nothing, is sent again later", () => {
  const mtu = new PathMtu(LOOPBACK, true);
  let nowUs = 0;
  for (let packet = 100; packet < 1_000; packet += 100) {
    assert.equal(mtu.probeBytes(nowUs), LOOPBACK);
    mtu.onProbeSent(packet);
    mtu.onProbeLost(LOOPBACK);
    mtu.onPacketLost(packet + 5);
    assert.equal(mtu.probeBytes(nowUs), 0, "not while packets are being lost");
    assert(mtu.nextTimeoutUs() > nowUs && mtu.nextTimeoutUs() <= nowUs + 2_000_000);
    nowUs = mtu.nextTimeoutUs();
  }
  assert.equal(mtu.probeBytes(nowUs), LOOPBACK);
  assert.equal(mtu.nextTimeoutUs(), NEVER);
  mtu.onProbeSent(1_000);
  mtu.onPacketLost(900); // another time
  mtu.onProbeLost(LOOPBACK);
  assert.equal(mtu.probeBytes(nowUs), 8_964);
});

Deno.test("path MTU: a pause ends although the search is over by then", () => {
  const mtu = new PathMtu(LOOPBACK, true);
  mtu.onProbeSent(1);
  mtu.onPacketLost(2);
  mtu.onProbeLost(LOOPBACK);
  assert.equal(mtu.probeBytes(0), 0);
  const resumeUs = mtu.nextTimeoutUs();
  assert(resumeUs < NEVER);
  mtu.onProbeAcked(LOOPBACK); // it was only late
  assert.equal(mtu.probeBytes(resumeUs), 0);
  assert.equal(mtu.nextTimeoutUs(), NEVER);
  // The same when the search ends first, and an older probe is lost after that.
  mtu.onPacketLost(2);
  mtu.onProbeLost(LOOPBACK);
  assert.equal(mtu.probeBytes(resumeUs), 0);
  assert.equal(mtu.probeBytes(mtu.nextTimeoutUs()), 0);
  assert.equal(mtu.nextTimeoutUs(), NEVER);
});

Deno.test("path MTU: random loss of probes never ends above the path, seeds 1…50", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = new SeededRandom(seed);
    const mtu = new PathMtu(LOOPBACK, true);
    search(mtu, 8_000, 0, () => random.chance(0.3));
    assert(mtu.frameBytes <= 8_000 && mtu.frameBytes >= BASE, `seed ${seed}: ${mtu.frameBytes}`);
  }
});

Deno.test("path MTU: a path that became better is found after the raise timer", () => {
  const mtu = new PathMtu(LOOPBACK, true);
  search(mtu, 1_464);
  assert.equal(mtu.probeBytes(MTU_RAISE_US - 1), 0);
  search(mtu, LOOPBACK, MTU_RAISE_US);
  assert.equal(mtu.frameBytes, LOOPBACK);
});

Deno.test("path MTU: three flights without a large packet are a black hole", () => {
  const mtu = new PathMtu(LOOPBACK, true);
  search(mtu, LOOPBACK);
  let packet = 0;
  for (let flight = 1; flight <= MTU_FLIGHTS_LOST_MAX; flight++) {
    const isLast = flight === MTU_FLIGHTS_LOST_MAX;
    assert.equal(mtu.onLargeLost(packet, packet + 10), isLast, `flight ${flight}`);
    assert.equal(mtu.onLargeLost(packet + 9, packet + 10), false, "the same flight again");
    packet += 10;
  }
  assert.equal(mtu.frameBytes, BASE);
  search(mtu, 1_464);
  assert.equal(mtu.frameBytes, 1_464);
});

Deno.test("path MTU: a large packet that arrives between lost flights acquits the path", () => {
  const mtu = new PathMtu(LOOPBACK, true);
  search(mtu, LOOPBACK);
  for (let flight = 0; flight < 10; flight++) {
    assert.equal(mtu.onLargeLost(10 * flight, 10 * flight + 10), false);
    if (flight % 2 === 1) mtu.onLargeAcked();
  }
  assert.equal(mtu.frameBytes, LOOPBACK);
});

Deno.test("path MTU: without search frames have their largest size from the start", () => {
  const mtu = new PathMtu(8_964, false);
  assert.equal(mtu.frameBytes, 8_964);
  assert.equal(mtu.probeBytes(MTU_RAISE_US), 0);
});

// ---- connections --------------------------------------------------------------------------

/** A pair over a path that drops frames above `carries`, after the search. */
function searchedPair(path: { carries: number }): Pair {
  const pair = new Pair(WIDE, WIDE, { frameBytesMax: LOOPBACK });
  pair.drop = (_from, _n, frame) => frame.length > path.carries;
  pair.advance(2_000_000);
  drain(pair.client);
  drain(pair.server);
  return pair;
}

/** Sends 300 kB on a new RO stream; whether they are all there after `forUs`. */
function carriesBulk(pair: Pair, forUs: number): boolean {
  const bytes = pattern(300_000);
  const stream = pair.client.openStream(MODE_RELIABLE_ORDERED);
  assert.equal(pair.client.write(stream, bytes), bytes.length);
  pair.advance(forUs);
  return equalBytes(readAll(pair.server, stream), bytes);
}

Deno.test("path MTU: a connection finds what the path carries and fills it", () => {
  for (const carries of [LOOPBACK, 8_964, 1_464, 1_300]) {
    const pair = searchedPair({ carries });
    const { frameBytes } = pair.client.stats();
    assert(frameBytes <= carries && frameBytes >= carries - 16, `${frameBytes} of ${carries}`);
    let longest = 0;
    pair.drop = (from, _n, frame) => {
      if (from === "client") longest = Math.max(longest, frame.length);
      return frame.length > carries;
    };
    assert(carriesBulk(pair, 1_000_000));
    assert.equal(longest, frameBytes);
  }
});

Deno.test("path MTU: lost probes are no congestion", () => {
  const pair = searchedPair({ carries: 1_464 });
  const { packetsLost, windowBytes, bytesInFlight } = pair.client.stats();
  assert.equal(packetsLost, 0);
  assert.equal(bytesInFlight, 0);
  assert(windowBytes >= 10 * BASE);
});

Deno.test("path MTU: a black hole makes frames small again, and nothing is lost", () => {
  const path = { carries: LOOPBACK };
  const pair = searchedPair(path);
  assert.equal(pair.client.stats().frameBytes, LOOPBACK);
  path.carries = 1_464;
  assert(carriesBulk(pair, 10_000_000));
  assert.equal(pair.client.stats().frameBytes, 1_464);
});

Deno.test("path MTU: parts of messages in lost large packets are cut anew", () => {
  const path = { carries: LOOPBACK };
  const pair = searchedPair(path);
  path.carries = 1_464;
  const message = pattern(200_000);
  const stream = pair.client.openStream(MODE_RELIABLE_UNORDERED);
  assert(pair.client.sendMessage(stream, message));
  pair.advance(10_000_000);
  assert(equalBytes(pair.server.readMessage(stream)!, message));
});

Deno.test("NS-BE-001: the longest best-effort message follows the path MTU", () => {
  const path = { carries: 8_964 };
  const pair = searchedPair(path);
  const { client, server } = pair;
  const stream = client.openStream(MODE_BEST_EFFORT);
  const longest = client.bestEffortBytesMax;
  assert(longest > 8_800 && longest < 8_964);
  assert(client.sendMessage(stream, pattern(longest)));
  pair.advance(100_000);
  assert.equal(server.readMessage(stream)?.length, longest);
  assert.throws(() => client.sendMessage(stream, pattern(longest + 1)), {
    code: "MESSAGE_TOO_LARGE",
  });
  path.carries = BASE;
  carriesBulk(pair, 10_000_000);
  assert(client.bestEffortBytesMax < BASE);
});
