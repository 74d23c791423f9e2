import assert from "node:assert/strict";
import fc from "fast-check";
import { NEVER, SeededRandom } from "../../lib/base/mod.ts";
import { createCongestion, NewReno } from "../../lib/l3_stream/congestion/mod.ts";
import {
  type Acknowledgement,
  LossRecovery,
  LOST_KEPT_MAX,
  type RecoverySink,
} from "../../lib/l3_stream/recovery.ts";
import { RttEstimator } from "../../lib/l3_stream/rtt.ts";

const DATAGRAM = 1_200;
const MAX_DELAY_US = 25_000;
const RTT_US = 100_000;

class Sink implements RecoverySink<string> {
  acked: number[] = [];
  lost: number[] = [];
  late: number[] = [];
  onAcked(frames: string, packetNumber: number): void {
    assert.equal(frames, `frames ${packetNumber}`);
    this.acked.push(packetNumber);
  }
  onLost(frames: string, packetNumber: number): void {
    assert.equal(frames, `frames ${packetNumber}`);
    this.lost.push(packetNumber);
  }
  onLateAck(_frames: string, packetNumber: number): void {
    this.late.push(packetNumber);
  }
}

function setUp(congestion = createCongestion("newreno", { datagramBytes: DATAGRAM })) {
  const sink = new Sink();
  const rtt = new RttEstimator();
  const recovery = new LossRecovery<string>({ congestion, rtt, maxAckDelayUs: MAX_DELAY_US });
  const send = (from: number, to: number, nowUs: number, bytes = DATAGRAM) => {
    for (let n = from; n <= to; n++) recovery.onSent(n, bytes, true, `frames ${n}`, nowUs);
  };
  const ack = (nowUs: number, ...ranges: number[]) =>
    recovery.onAck(acknowledgement(ranges), nowUs, sink);
  return { sink, rtt, recovery, congestion, send, ack };
}

function acknowledgement(ranges: number[], more: Partial<Acknowledgement> = {}): Acknowledgement {
  return { largest: ranges[0], ackDelayUs: 0, ranges, rangeCount: ranges.length / 2, ...more };
}

Deno.test("NS-LD-001: a packet is lost when three later ones are acknowledged, not two", () => {
  const { sink, send, ack, recovery } = setUp();
  send(0, 4, 0);
  ack(RTT_US, 2, 1);
  assert.deepEqual(sink.lost, []);
  ack(RTT_US, 3, 1);
  assert.deepEqual(sink.lost, [0]);
  assert.deepEqual(sink.acked, [1, 2, 3]);
  assert.equal(recovery.bytesInFlight, DATAGRAM);
});

Deno.test("NS-LD-002: a packet is lost 9/8 RTT after sending when a later one is acknowledged", () => {
  const { sink, send, ack, recovery } = setUp();
  send(0, 1, 0);
  ack(RTT_US, 1, 1);
  assert.deepEqual(sink.lost, []);
  assert.equal(recovery.timeoutUs(), 1.125 * RTT_US);
  assert.equal(recovery.onTimeout(1.125 * RTT_US - 1, sink), "none");
  assert.equal(recovery.onTimeout(1.125 * RTT_US, sink), "loss");
  assert.deepEqual(sink.lost, [0]);
  assert.equal(recovery.timeoutUs(), NEVER);
  assert.equal(recovery.bytesInFlight, 0);
});

Deno.test("NS-LD-003: the PTO counts from the last ack-eliciting packet and doubles", () => {
  const { sink, send, recovery, rtt } = setUp();
  assert.equal(recovery.timeoutUs(), NEVER);
  send(0, 0, 1_000);
  recovery.onSent(1, 80, false, undefined, 2_000);
  const pto = rtt.ptoUs(MAX_DELAY_US);
  assert.equal(recovery.timeoutUs(), 1_000 + pto);
  assert.equal(recovery.onTimeout(1_000 + pto, sink), "pto");
  assert.equal(recovery.ptoCount, 1);
  assert.equal(recovery.timeoutUs(), 1_000 + 2 * pto);
  send(2, 2, 1_000 + pto);
  assert.equal(recovery.timeoutUs(), 1_000 + 3 * pto);
  assert.deepEqual(sink.lost, [], "a PTO loses nothing");
});

Deno.test("NS-LD-003: an acknowledgement of something new ends the backoff, an old one does not", () => {
  const { sink, send, ack, recovery } = setUp();
  send(0, 1, 0);
  ack(RTT_US, 0, 0);
  recovery.onTimeout(recovery.timeoutUs(), sink);
  recovery.onTimeout(recovery.timeoutUs(), sink);
  assert.equal(recovery.ptoCount, 2);
  ack(2_000_000, 0, 0);
  assert.equal(recovery.ptoCount, 2);
  ack(2_000_001, 1, 0);
  assert.equal(recovery.ptoCount, 0);
});

Deno.test("NS-LD-003: packets without ack-eliciting frames are not in flight and set no timer", () => {
  const { recovery } = setUp();
  recovery.onSent(0, 100, false, undefined, 0);
  assert.equal(recovery.bytesInFlight, 0);
  assert.equal(recovery.timeoutUs(), NEVER);
});

Deno.test("NS-LD-003: an ack-only largest packet still gives an RTT sample for an eliciting one", () => {
  const { recovery, rtt, send, ack } = setUp();
  send(0, 0, 0);
  for (let n = 1; n <= 5; n++) recovery.onSent(n, 80, false, undefined, n * 1_000);
  ack(50_000, 5, 0);
  assert.equal(rtt.latestUs, 45_000);
});

Deno.test("NS-LD-003: ack-only packets alone give no RTT sample", () => {
  const { recovery, rtt, ack } = setUp();
  for (let n = 0; n <= 5; n++) recovery.onSent(n, 80, false, undefined, n * 1_000);
  ack(50_000, 5, 0);
  assert.equal(rtt.hasSample, false);
});

Deno.test("NS-LD-003: an ACK held longer than promised gives no sample, eight times at most", () => {
  const { recovery, rtt, sink, send } = setUp();
  send(0, 19, 0);
  const late = { ackDelayUs: MAX_DELAY_US + 1 };
  recovery.onAck(acknowledgement([0, 0]), RTT_US, sink);
  for (let n = 1; n <= 8; n++) {
    recovery.onAck(acknowledgement([n, 0], late), 10 * RTT_US, sink);
    assert.equal(rtt.latestUs, RTT_US);
  }
  recovery.onAck(acknowledgement([9, 0], late), 10 * RTT_US, sink);
  assert.equal(rtt.latestUs, 10 * RTT_US);
});

Deno.test("NS-LD-001: an ACK for a packet never sent is refused and changes nothing", () => {
  const { sink, send, ack, recovery } = setUp();
  send(0, 2, 0);
  assert.equal(ack(RTT_US, 3, 0), -1);
  assert.equal(recovery.bytesInFlight, 3 * DATAGRAM);
  assert.deepEqual(sink.acked, []);
});

Deno.test("NS-LD-001: an ACK for a packet number left out on purpose is refused", () => {
  const { send, ack } = setUp();
  send(0, 2, 0);
  send(4, 6, 0);
  assert.equal(ack(RTT_US, 6, 0), -1);
  assert.equal(ack(RTT_US, 6, 4, 2, 0), 0);
});

Deno.test("NS-LD-001: acknowledging twice counts once", () => {
  const { sink, send, ack, recovery } = setUp();
  send(0, 3, 0);
  ack(RTT_US, 3, 0);
  ack(RTT_US, 3, 0);
  assert.deepEqual(sink.acked, [0, 1, 2, 3]);
  assert.equal(recovery.bytesInFlight, 0);
  assert.equal(recovery.stats.acked, 4);
});

Deno.test("NS-LD-004: persistent congestion after losses over three PTOs falls to two packets", () => {
  const { send, ack, recovery, congestion, rtt } = setUp();
  send(0, 0, 0);
  ack(RTT_US, 0, 0);
  const pto = ptoAfterSecondSample(rtt);
  send(1, 1, 200_000);
  send(2, 3, 200_000 + 3 * pto + 1);
  send(4, 6, 200_000 + 3 * pto + 2);
  ack(200_000 + 3 * pto + 2 + RTT_US, 6, 6);
  assert.equal(recovery.stats.persistentCongestions, 1);
  assert.equal(congestion.windowBytes, 2 * DATAGRAM);
});

Deno.test("NS-LD-004: losses over less than three PTOs are no persistent congestion", () => {
  const { send, ack, recovery, rtt } = setUp();
  send(0, 0, 0);
  ack(RTT_US, 0, 0);
  const pto = ptoAfterSecondSample(rtt);
  send(1, 1, 200_000);
  send(2, 6, 200_000 + 3 * pto);
  ack(200_000 + 3 * pto + RTT_US, 6, 6);
  assert.equal(recovery.stats.persistentCongestions, 0);
  assert.equal(recovery.stats.lost, 3);
});

Deno.test("NS-LD-004: an acknowledged packet between the losses prevents persistent congestion", () => {
  const { send, ack, recovery, rtt } = setUp();
  send(0, 0, 0);
  ack(RTT_US, 0, 0);
  const pto = ptoAfterSecondSample(rtt);
  send(1, 1, 200_000);
  send(2, 2, 200_000 + pto);
  send(3, 7, 200_000 + 3 * pto + 1);
  ack(200_000 + 3 * pto + 1 + RTT_US, 7, 7, 2, 2);
  assert.equal(recovery.stats.lost, 3);
  assert.equal(recovery.stats.persistentCongestions, 0);
});

Deno.test("NS-LD-004: an acknowledged packet of ACKs only between them prevents it as well", () => {
  for (const isAcked of [false, true]) {
    const { send, ack, recovery } = setUp();
    send(0, 0, 0);
    ack(RTT_US, 0, 0);
    send(1, 1, 200_000);
    recovery.onSent(2, 80, false, undefined, 300_000);
    send(3, 7, 20_000_000);
    const ranges = isAcked ? [7, 7, 2, 2] : [7, 7];
    ack(20_100_000, ...ranges);
    assert.equal(recovery.stats.lost, 3);
    assert.equal(recovery.stats.persistentCongestions, isAcked ? 0 : 1);
  }
});

Deno.test("NS-LD-004: a lost path MTU probe neither begins nor ends the run (RFC 9000 §14.4)", () => {
  const spans = (probeAt: "first" | "between") => {
    const { send, ack, recovery } = setUp();
    send(0, 0, 0);
    ack(RTT_US, 0, 0);
    if (probeAt === "first") {
      recovery.onSent(1, 0, true, "frames 1", 200_000);
      send(2, 2, 19_999_999);
    } else {
      send(1, 1, 200_000);
      recovery.onSent(2, 0, true, "frames 2", 300_000);
    }
    send(3, 7, 20_000_000);
    ack(20_100_000, 7, 7);
    return recovery.stats.persistentCongestions;
  };
  assert.equal(spans("first"), 0);
  assert.equal(spans("between"), 1);
});

Deno.test("NS-LD-004: a late acknowledgement between the losses prevents persistent congestion", () => {
  for (const isLate of [false, true]) {
    const { send, ack, recovery } = setUp();
    send(0, 0, 0);
    ack(RTT_US, 0, 0);
    send(1, 1, 200_000);
    send(2, 5, 20_000_000);
    ack(20_100_000, 4, 4); // 1 is lost
    if (isLate) ack(20_100_001, 4, 4, 1, 1);
    assert.equal(recovery.stats.persistentCongestions, 0);
    ack(20_200_000, 5, 4); // 2 and 3 are lost, the run began with 1
    assert.equal(recovery.stats.persistentCongestions, isLate ? 0 : 1);
  }
});

Deno.test("NS-LD-004: persistent congestion starts the minimum RTT anew (RFC 9002 §5.2)", () => {
  const { send, ack, rtt } = setUp();
  send(0, 0, 0);
  ack(RTT_US, 0, 0);
  send(1, 1, 200_000);
  send(2, 5, 20_000_000);
  ack(20_000_000 + 2 * RTT_US, 5, 5);
  assert.equal(rtt.minUs, 2 * RTT_US);
});

/** The PTO that the ACK itself will measure against: one more sample of the same round trip. */
function ptoAfterSecondSample(rtt: RttEstimator): number {
  return rtt.smoothedUs + 4 * 0.75 * rtt.varianceUs + MAX_DELAY_US;
}

Deno.test("NS-LD-004: losses before the first RTT sample are no persistent congestion", () => {
  const { send, ack, recovery } = setUp();
  send(0, 0, 0);
  send(1, 1, 20_000_000);
  send(2, 6, 20_000_001);
  ack(20_100_000, 6, 6);
  assert.equal(recovery.stats.lost, 4);
  assert.equal(recovery.stats.persistentCongestions, 0);
});

Deno.test("NS-LD-004: when all losses of an event arrive late the window is restored", () => {
  const { sink, send, ack, recovery, congestion } = setUp();
  const window = congestion.windowBytes;
  send(0, 7, 0);
  ack(RTT_US, 7, 2);
  assert.deepEqual(sink.lost, [0, 1]);
  assert.ok(congestion.windowBytes < window);
  ack(RTT_US + 1_000, 7, 1);
  assert.ok(congestion.windowBytes < window, "one of two is not all");
  ack(RTT_US + 2_000, 7, 0);
  assert.ok(congestion.windowBytes >= window);
  assert.deepEqual([recovery.stats.spurious, recovery.stats.undone], [2, 1]);
  assert.deepEqual(sink.late, [1, 0]);
  assert.equal(recovery.bytesInFlight, 0);
});

Deno.test("NS-LD-004: late packets of an older event do not undo the newer one", () => {
  const { send, ack, recovery } = setUp();
  send(0, 7, 0);
  ack(RTT_US, 7, 1); // 0 is lost: first event
  send(8, 15, RTT_US + 1);
  ack(2 * RTT_US, 15, 9, 7, 1); // 8 is lost: second event
  ack(2 * RTT_US + 1, 15, 9, 7, 0); // 0 was late
  assert.deepEqual([recovery.stats.congestionEvents, recovery.stats.undone], [2, 0]);
  ack(2 * RTT_US + 2, 15, 0); // 8 was late
  assert.equal(recovery.stats.undone, 1);
});

Deno.test("NS-LD-004: lost packets are forgotten after a while and past a number", () => {
  const { sink, send, ack, recovery } = setUp();
  send(0, 10, 0);
  ack(RTT_US, 10, 10);
  assert.equal(sink.lost.length, 8);
  send(11, 20, 20_000_000);
  ack(20_100_000, 20, 11);
  ack(20_100_001, 20, 0);
  assert.equal(recovery.stats.spurious, 2, "8 and 9 are fresh, 0-7 too old");

  const many = setUp();
  many.send(0, LOST_KEPT_MAX + 102, 0, 100);
  many.ack(RTT_US, LOST_KEPT_MAX + 102, LOST_KEPT_MAX + 102);
  assert.equal(many.sink.lost.length, LOST_KEPT_MAX + 100);
  many.ack(RTT_US, LOST_KEPT_MAX + 102, 0);
  assert.equal(many.recovery.stats.spurious, LOST_KEPT_MAX);
});

Deno.test("NS-CC-005: new CE marks are one congestion event per round trip", () => {
  const { recovery, sink, send, congestion } = setUp();
  const window = congestion.windowBytes;
  send(0, 9, 0);
  recovery.onAck(acknowledgement([1, 0], { ce: 1 }), RTT_US, sink);
  assert.equal(congestion.windowBytes, congestion.slowStartThresholdBytes);
  const reduced = congestion.windowBytes;
  assert.ok(reduced < window + 2 * DATAGRAM);
  recovery.onAck(acknowledgement([3, 0], { ce: 3 }), RTT_US, sink);
  assert.equal(congestion.windowBytes, reduced);
  send(10, 11, RTT_US + 1);
  recovery.onAck(acknowledgement([11, 0], { ce: 4 }), 2 * RTT_US, sink);
  assert.ok(congestion.windowBytes < reduced);
  assert.equal(recovery.stats.congestionEvents, 2);
});

Deno.test("NS-CC-004: a flight that does not fill the window does not let it grow", () => {
  const { send, ack, congestion, recovery } = setUp();
  const window = congestion.windowBytes;
  for (let i = 0; i < 50; i++) {
    send(2 * i, 2 * i + 1, i * RTT_US);
    ack((i + 1) * RTT_US, 2 * i + 1, 0);
  }
  assert.equal(congestion.windowBytes, window);
  send(100, 109, 60 * RTT_US);
  assert.equal(recovery.canSend(DATAGRAM), false);
  for (let n = 100; n <= 109; n++) ack(61 * RTT_US, n, 100);
  assert.equal(congestion.windowBytes, 2 * window, "all of a flight that was refused more counts");
});

Deno.test("NS-CC-006: pacing admits the initial window at once, then window / RTT × 1.25", () => {
  const { send, recovery, rtt } = setUp(new NewReno({ datagramBytes: DATAGRAM }));
  rtt.update(RTT_US, 0, 0, 0);
  for (let n = 0; n < 10; n++) {
    assert.equal(recovery.pacingDelayUs(DATAGRAM, 0), 0);
    send(n, n, 0);
  }
  const delayUs = recovery.pacingDelayUs(DATAGRAM, 0);
  assert.ok(Math.abs(delayUs - RTT_US / 10 / 1.25) <= 2, `${delayUs}`);
  assert.equal(recovery.pacingDelayUs(DATAGRAM, delayUs), 0);
});

/** RFC 9002 App. A by the letter over a Map, as slow twin for what the ring does. */
class PlainRecovery {
  packets = new Map<number, { sentUs: number; lost: boolean }>();
  largestAcked = -1;
  acked: number[] = [];
  lost: number[] = [];
  late: number[] = [];
  constructor(readonly rtt: RttEstimator) {}
  sent(n: number, nowUs: number): void {
    this.packets.set(n, { sentUs: nowUs, lost: false });
  }
  ack(numbers: Set<number>, nowUs: number): void {
    this.largestAcked = Math.max(this.largestAcked, ...numbers);
    let any = false;
    for (const [n, packet] of this.packets) {
      if (!numbers.has(n)) continue;
      (packet.lost ? this.late : this.acked).push(n);
      this.packets.delete(n);
      any = true;
    }
    if (!any) return;
    for (const [n, packet] of this.packets) {
      if (packet.lost || n > this.largestAcked) continue;
      if (n + 3 <= this.largestAcked || packet.sentUs + this.rtt.lossDelayUs() <= nowUs) {
        packet.lost = true;
        this.lost.push(n);
      }
    }
  }
}

Deno.test("NS-LD-001: the ring agrees with a plain Map under random sends and ACKs", () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const random = new SeededRandom(seed);
      const { sink, recovery, rtt } = setUp();
      const plain = new PlainRecovery(rtt);
      let next = 0;
      let nowUs = 0;
      for (let step = 0; step < 60; step++) {
        nowUs += random.below(1_500);
        for (let i = random.below(40); i > 0; i--) {
          recovery.onSent(next, 100, true, `frames ${next}`, nowUs);
          plain.sent(next++, nowUs);
        }
        if (next === 0) continue;
        const ranges: number[] = [];
        const numbers = new Set<number>();
        // Mostly the newest packets, as a peer does; sometimes anything.
        let high = random.chance(0.7)
          ? next - 1 - random.below(Math.min(20, next))
          : random.below(next);
        while (high >= 0 && ranges.length < 2 * 8) {
          const low = Math.max(0, high - random.below(30));
          ranges.push(high, low);
          for (let n = low; n <= high; n++) numbers.add(n);
          high = low - 2 - random.below(4);
        }
        assert.equal(recovery.onAck(acknowledgement(ranges), nowUs, sink), 0);
        plain.ack(numbers, nowUs);
        const sorted = (list: number[]) => list.toSorted((a, b) => a - b);
        assert.deepEqual(sorted(sink.acked), sorted(plain.acked));
        assert.deepEqual(sorted(sink.lost), sorted(plain.lost));
        assert.deepEqual(sorted(sink.late), sorted(plain.late));
        const inFlight = [...plain.packets.values()].filter((packet) => !packet.lost).length;
        assert.equal(recovery.packetsInFlight, inFlight);
        assert.equal(recovery.bytesInFlight, 100 * inFlight);
      }
    }),
    { numRuns: 40 },
  );
});

Deno.test("NS-LD-001: any ACK at all leaves the accounts in order", () => {
  const number = fc.integer({ min: 0, max: 120 });
  fc.assert(
    fc.property(fc.array(fc.array(number, { minLength: 2, maxLength: 40 })), (acks) => {
      const { sink, send, recovery } = setUp();
      send(0, 99, 0);
      for (const [i, numbers] of acks.entries()) {
        // Not even descending or disjoint: what no decoder would pass on.
        const ranges = numbers.length % 2 === 0 ? numbers : numbers.slice(1);
        recovery.onAck(acknowledgement(ranges), RTT_US + i, sink);
      }
      const seen = sink.acked.length + sink.lost.length;
      assert.equal(recovery.packetsInFlight, 100 - seen);
      assert.equal(recovery.bytesInFlight, recovery.packetsInFlight * DATAGRAM);
      assert.equal(new Set([...sink.acked, ...sink.lost]).size, seen);
    }),
  );
});

// ---- packets that carried one range of bytes -------------------------------------------------

/** Writes down the ranges it is told, as "kind stream offset+length". */
function dataSetUp() {
  const told: string[] = [];
  const congestion = createCongestion("newreno", { datagramBytes: DATAGRAM });
  const recovery = new LossRecovery<string>({
    congestion,
    rtt: new RttEstimator(),
    maxAckDelayUs: MAX_DELAY_US,
  });
  const sink: RecoverySink<string> = {
    onAcked: (frames) => told.push(`acked ${frames}`),
    onLost: (frames) => told.push(`lost ${frames}`),
    onRepeat: (frames) => told.push(`repeat ${frames}`),
    onAckedData: (stream, offset, length) => told.push(`acked ${stream} ${offset}+${length}`),
    onLostData: (stream, offset, length) => told.push(`lost ${stream} ${offset}+${length}`),
  };
  const ack = (nowUs: number, ...ranges: number[]) => {
    told.length = 0;
    assert.equal(recovery.onAck(acknowledgement(ranges), nowUs, sink), 0);
    return told;
  };
  return { recovery, sink, told, ack };
}

Deno.test("NS-LD-001: an ACK of neighbouring byte ranges of one stream is one call", () => {
  const { recovery, ack } = dataSetUp();
  for (let n = 0; n < 6; n++) recovery.onSentData(n, DATAGRAM, 7, 1_000 * n, 1_000, 0);
  recovery.onSentData(6, DATAGRAM, 9, 6_000, 1_000, 0);
  recovery.onSentData(7, DATAGRAM, 9, 8_000, 1_000, 0);
  assert.deepEqual(ack(RTT_US, 7, 0), ["acked 7 0+6000", "acked 9 6000+1000", "acked 9 8000+1000"]);
});

Deno.test("NS-LD-001: neighbouring byte ranges lost together are one call", () => {
  const { recovery, ack, told } = dataSetUp();
  recovery.onSentRun(0, 10, DATAGRAM, 7, 0, 1_000, 0);
  assert.deepEqual(ack(RTT_US, 9, 8, 3, 3), [
    "acked 7 8000+2000",
    "acked 7 3000+1000",
    "lost 7 0+3000",
    "lost 7 4000+3000",
  ]);
  assert.equal(recovery.bytesInFlight, DATAGRAM, "only packet 7 is left");
  assert.deepEqual(ack(RTT_US + 1, 9, 8, 3, 0), ["acked 7 0+3000"], "late ones too");
  assert.equal(told.length, 1);
});

Deno.test("NS-LD-001: a train is recorded like its packets, the last one shorter", () => {
  const { recovery, ack } = dataSetUp();
  recovery.onSent(0, DATAGRAM, true, "frames 0", 0);
  recovery.onSentRun(1, 45, DATAGRAM, 7, 500, 1_000, 1_000, 300);
  recovery.onSent(46, DATAGRAM, true, "frames 46", 2_000);
  assert.equal(recovery.packetsInFlight, 47);
  assert.equal(recovery.bytesInFlight, 47 * DATAGRAM - 700);
  assert.equal(recovery.stats.sent, 47);
  assert.deepEqual(ack(RTT_US, 46, 0), ["acked frames 0", "acked frames 46", "acked 7 500+44300"]);
  assert.equal(recovery.bytesInFlight, 0);
});

Deno.test("NS-LD-003: a probe repeats the oldest byte ranges, which stay in flight", () => {
  const { recovery, sink, told } = dataSetUp();
  recovery.onSent(0, DATAGRAM, true, "frames 0", 0);
  recovery.onSentRun(1, 3, DATAGRAM, 7, 0, 1_000, 0);
  recovery.repeatOldest(3, sink);
  assert.deepEqual(told, ["repeat frames 0", "lost 7 0+2000"]);
  assert.equal(recovery.packetsInFlight, 4);
});
