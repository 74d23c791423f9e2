/** The TCP model is a fair opponent: it behaves as the RFCs say CUBIC does. */
import assert from "node:assert/strict";
import { type LinkOptions, type SimNetwork, simulate } from "./network.ts";
import { TcpReceiver, TcpSender } from "./tcp.ts";

const REPLAY = "deno test tests/sim/tcp_test.ts";
const LINK: LinkOptions = { rateBps: 10e6, delayUs: 15_000, queueMax: 25, headerBytes: 36 };
/** Of the 1,500 bytes of a packet. */
const SEGMENT_SHARE = 1_448 / 1_500;

function addFlow(network: SimNetwork, i: number, link: LinkOptions, startUs = 0) {
  const sender = new TcpSender(`d${i}`, startUs);
  const receiver = new TcpReceiver();
  network.link(`s${i}`, `d${i}`, link, { delayUs: link.delayUs });
  if (i > 0) network.shareLink(`s${i}`, `d${i}`, network.linkBetween("s0", "d0"));
  network.addHost(`d${i}`, receiver);
  network.addHost(`s${i}`, sender);
  return { sender, receiver };
}

Deno.test("TCP model: fills 10 Mbit/s, 15 ms, queue of 25 packets", () => {
  simulate(1, REPLAY, (network) => {
    const { sender, receiver } = addFlow(network, 0, LINK);
    network.run(30e6);
    const ratio = receiver.bytes * 8 / (10e6 * 30 * SEGMENT_SHARE);
    assert.ok(ratio > 0.93 && ratio <= 1, `utilisation ${ratio}`);
    assert.ok(sender.retransmitted > 0);
    // Slow start overshoots once; a segment lost twice then is only found by the timer.
    assert.ok(sender.timeouts <= 2, `${sender.timeouts} timeouts`);
  });
});

Deno.test("TCP model: one loss in a thousand gives RFC 9438's average window at 100 ms", () => {
  simulate(1, REPLAY, (network) => {
    const every = Array.from({ length: 200 }, (_, i) => 1_000 * (i + 1));
    const link = { delayUs: 50_000, dropNumbers: every, headerBytes: 36 };
    const { sender } = addFlow(network, 0, link);
    network.run(30e6);
    sender.windowSum = sender.windowSamples = 0;
    network.run(200e6);
    const window = sender.windowSum / sender.windowSamples;
    // RFC 9438 §5.1, table for RTT 100 ms: 38 segments at p = 1e-3.
    assert.ok(Math.abs(window / 38 - 1) < 0.15, `${window} segments on average`);
  });
});

Deno.test("TCP model: two flows share a bottleneck, the late one too", () => {
  simulate(1, REPLAY, (network) => {
    const flows = [addFlow(network, 0, LINK), addFlow(network, 1, LINK, 5e6)];
    network.run(20e6);
    const before = flows.map(({ receiver }) => receiver.bytes);
    network.run(80e6);
    const [x, y] = flows.map(({ receiver }, i) => receiver.bytes - before[i]);
    assert.ok((x + y) ** 2 / (2 * (x * x + y * y)) > 0.9, `${x} and ${y} bytes`);
  });
});

Deno.test("TCP model: survives a blackhole by its timeout", () => {
  simulate(1, REPLAY, (network) => {
    const blackholes = [{ fromUs: 3e6, untilUs: 5e6 }];
    const { sender, receiver } = addFlow(network, 0, { ...LINK, blackholes });
    network.run(5e6);
    const { bytes } = receiver;
    network.run(12e6);
    assert.ok(sender.timeouts >= 2);
    const ratio = (receiver.bytes - bytes) * 8 / (10e6 * 7 * SEGMENT_SHARE);
    assert.ok(ratio > 0.6, `utilisation after it ${ratio}`);
  });
});
