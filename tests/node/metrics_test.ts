import assert from "node:assert/strict";
import { type MetricsSource, MODELS_MAX, NodeMetrics } from "../../lib/node/metrics.ts";

function metrics(drops: Record<string, number> = {}) {
  const numbers = { framesSent: 10, ready: true, providers: { demo: up() } };
  const source: MetricsSource = {
    network: () => ({
      framesSent: numbers.framesSent,
      framesReceived: 9,
      bytesSent: 1000,
      bytesReceived: 900,
      drops,
      retransmissions: 3,
      connections: { client: 2, server: 1 },
      streams: 5,
    }),
    node: () => ({
      knownNodes: 3,
      routes: 6,
      activeRequests: 1,
      queuedRequests: 0,
      load: 0.25,
      ready: numbers.ready,
      draining: false,
    }),
    providers: () => numbers.providers,
    certificateNotAfterS: () => 1234567,
  };
  return { numbers, metrics: new NodeMetrics(source, "0.1.0", 1700000000) };
}

function up() {
  return { up: true, active: 1, queueDepth: 2 };
}

/** Samples of a scrape: `name{labels}` → value. */
async function scrape(from: NodeMetrics): Promise<Map<string, number>> {
  const samples = new Map<string, number>();
  for (const line of (await from.text()).split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const match = /^([a-z_]+(?:\{.*\})?) (\S+)$/.exec(line);
    assert.ok(match, `not the text format: ${line}`);
    samples.set(match[1], Number(match[2]));
  }
  return samples;
}

Deno.test("metrics: a scrape reads the numbers of that moment, never adds them up", async () => {
  const { metrics: node, numbers } = metrics({ bad_crc: 4, replayed: 1 });
  const first = await scrape(node);
  assert.equal(first.get('nexus_frames_total{direction="transmit"}'), 10);
  assert.equal(first.get('nexus_frames_total{direction="receive"}'), 9);
  assert.equal(first.get('nexus_network_io_bytes_total{direction="transmit"}'), 1000);
  assert.equal(first.get('nexus_frames_dropped_total{reason="bad_crc"}'), 4);
  assert.equal(first.get("nexus_retransmissions_total"), 3);
  assert.equal(first.get('nexus_connections{side="client"}'), 2);
  assert.equal(first.get("nexus_streams"), 5);
  assert.equal(first.get("nexus_routes"), 6);
  assert.equal(first.get("nexus_ready"), 1);
  assert.equal(first.get('nexus_provider_up{provider="demo"}'), 1);
  assert.equal(first.get("nexus_certificate_not_after_seconds"), 1234567);
  assert.equal(first.get('nexus_build_info{version="0.1.0"}'), 1);
  numbers.framesSent = 12;
  numbers.ready = false;
  numbers.providers = {} as typeof numbers.providers;
  const second = await scrape(node);
  assert.equal(second.get('nexus_frames_total{direction="transmit"}'), 12);
  assert.equal(second.get("nexus_ready"), 0);
  assert.equal(second.has('nexus_provider_up{provider="demo"}'), false, "a provider that is gone");
});

Deno.test("metrics: a finished request shows in the GenAI metrics with its labels", async () => {
  const { metrics: node } = metrics();
  const request = {
    operation: "chat",
    provider: "demo",
    model: "nexus-demo",
    durationS: 1.1,
    firstTokenS: 0.1,
    inputTokens: 7,
    outputTokens: 101,
  } as const;
  node.operation({ ...request, side: "client" });
  node.operation({ ...request, side: "server" });
  const samples = await scrape(node);
  const labels = 'gen_ai_operation_name="chat",gen_ai_provider_name="demo",' +
    'gen_ai_response_model="nexus-demo"';
  const sum = (name: string, more = "") => samples.get(`${name}_sum{${labels}${more}}`);
  const ok = ',error_type=""';
  assert.equal(sum("gen_ai_client_operation_duration_seconds", ok), 1.1);
  assert.equal(sum("gen_ai_server_request_duration_seconds", ok), 1.1);
  assert.equal(sum("gen_ai_server_time_to_first_token_seconds"), 0.1);
  assert.equal(sum("gen_ai_server_time_per_output_token_seconds"), 0.01);
  assert.equal(sum("gen_ai_client_token_usage", ',gen_ai_token_type="input"'), 7);
  assert.equal(sum("gen_ai_client_token_usage", ',gen_ai_token_type="output"'), 101);
  assert.equal(samples.get('nexus_tokens_total{side="server",type="output"}'), 101);
  assert.equal(samples.get('nexus_requests_total{side="client",outcome="ok"}'), 1);
});

Deno.test("metrics: a failed request counts under its error", async () => {
  const { metrics: node } = metrics();
  node.operation({
    side: "client",
    operation: "chat",
    provider: "nexus",
    durationS: 2,
    error: "TIMEOUT",
  });
  node.retry();
  const samples = await scrape(node);
  assert.equal(samples.get('nexus_requests_total{side="client",outcome="TIMEOUT"}'), 1);
  assert.equal(samples.get("nexus_request_retries_total"), 1);
  const failed = [...samples.keys()].filter((key) => key.includes('error_type="TIMEOUT"'));
  assert.ok(failed.length > 0);
});

Deno.test("metrics: handshakes count by side and outcome, durations of good ones only", async () => {
  const { metrics: node } = metrics();
  node.handshake("server", "ok", 0.003);
  node.handshake("server", "UNKNOWN_CA", 5);
  const samples = await scrape(node);
  assert.equal(samples.get('nexus_handshakes_total{side="server",outcome="ok"}'), 1);
  assert.equal(samples.get('nexus_handshakes_total{side="server",outcome="UNKNOWN_CA"}'), 1);
  assert.equal(samples.get('nexus_handshake_duration_seconds_sum{side="server"}'), 0.003);
});

Deno.test("metrics: model labels are bounded, whatever clients ask for", async () => {
  const { metrics: node } = metrics();
  for (let n = 0; n < MODELS_MAX + 50; n++) {
    node.operation({
      side: "server",
      operation: "chat",
      provider: "demo",
      model: `m${n}`,
      durationS: 1,
    });
  }
  const counts = [...await scrape(node)].filter(([key]) =>
    key.startsWith("gen_ai_server_request_duration_seconds_count")
  );
  assert.equal(counts.length, MODELS_MAX + 1);
  assert.equal(counts.find(([key]) => key.includes('model="other"'))?.[1], 50);
});

Deno.test("metrics: buckets are the ones that the GenAI conventions advise", async () => {
  const { metrics: node } = metrics();
  node.operation({
    side: "client",
    operation: "chat",
    provider: "p",
    durationS: 1,
    inputTokens: 1,
  });
  const keys = [...(await scrape(node)).keys()];
  const bounds = (name: string) =>
    keys.filter((key) => key.startsWith(name + "_bucket"))
      .map((key) => Number(/le="([^"]+)"/.exec(key)![1].replace("+Inf", "Infinity")));
  assert.deepEqual(bounds("gen_ai_client_operation_duration_seconds"), [
    ...[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
    Infinity,
  ]);
  assert.deepEqual(bounds("gen_ai_client_token_usage"), [
    ...[1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864],
    Infinity,
  ]);
});
