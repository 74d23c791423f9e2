/**
 * Metrics of the node in the Prometheus text format.
 *
 * Names follow OpenTelemetry as its Prometheus exporter writes them: dots become underscores, the
 * unit is appended (`gen_ai.client.operation.duration` in seconds →
 * `gen_ai_client_operation_duration_seconds`). `gen_ai_*` are the GenAI semantic conventions with
 * the bucket boundaries that they advise; `nexus_*` are ours.
 *
 * Counters of the data path are not touched per packet: the node hands out its own numbers when
 * somebody scrapes (`MetricsSource`). Only requests and handshakes are observed as they end.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** Numbers since the node started, unless they say otherwise. */
export interface NetworkNumbers {
  readonly framesSent: number;
  readonly framesReceived: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Received frames that were dropped, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  readonly retransmissions: number;
  /** Now. */
  readonly connections: { readonly client: number; readonly server: number };
  /** Now. */
  readonly streams: number;
}

/** What a scrape reads. Every call must be cheap and must not throw. */
export interface MetricsSource {
  network(): NetworkNumbers;
  /** Now: nodes in the table, models in it, requests running and waiting here. */
  node(): {
    readonly knownNodes: number;
    readonly routes: number;
    readonly activeRequests: number;
    readonly queuedRequests: number;
    /** 0 idle … 1 full. */
    readonly load: number;
    readonly ready: boolean;
    readonly draining: boolean;
  };
  /** Now, by provider name. */
  providers(): Readonly<
    Record<string, { readonly up: boolean; readonly active: number; readonly queueDepth: number }>
  >;
  /** Unix seconds when the node's own certificate ends; undefined without one. */
  certificateNotAfterS(): number | undefined;
}

/** One request that ended. */
export interface OperationRecord {
  /** `client`: this node asked for somebody; `server`: a provider of this node answered. */
  readonly side: "client" | "server";
  readonly operation: "chat" | "text_completion" | "embeddings";
  /** Name of the provider on this node, or "nexus" for another node. */
  readonly provider: string;
  /** The model that answered; bounded, see MODELS_MAX. */
  readonly model?: string;
  readonly durationS: number;
  readonly firstTokenS?: number;
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  /** Error code, such as "TIMEOUT"; absent when it went well. */
  readonly error?: string;
}

/** Distinct model labels; a label value lives forever, so what clients send must not make more. */
export const MODELS_MAX = 256;

// Buckets that the OpenTelemetry GenAI conventions advise (ExplicitBucketBoundaries, in
// docs/gen-ai/gen-ai-metrics.md): seconds of an operation, tokens, seconds to the first token, and
// seconds for each token after it.
const DURATION_BUCKETS = powers(0.01, 2, 14);
const TOKEN_BUCKETS = powers(1, 4, 14);
const FIRST_TOKEN_BUCKETS = [
  ...[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1],
  ...[0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
];
const PER_TOKEN_BUCKETS = [
  ...[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
];
/** A handshake is one round trip and about a millisecond of work. */
const HANDSHAKE_BUCKETS = powers(0.001, 2, 13);

/** The registry of one node. */
export class NodeMetrics {
  readonly registry = new Registry();
  readonly #models = new Set<string>();
  readonly #operation: Record<"client" | "server", Histogram>;
  readonly #firstToken: Record<"client" | "server", Histogram>;
  readonly #perToken: Histogram;
  readonly #tokens: Histogram;
  readonly #requests: Counter;
  readonly #tokenTotal: Counter;
  readonly #handshakes: Counter;
  readonly #handshakeDuration: Histogram;
  readonly #retries: Counter;

  constructor(source: MetricsSource, version: string, startedUnixS: number) {
    const registers = [this.registry];
    const genAi = [
      "gen_ai_operation_name",
      "gen_ai_provider_name",
      "gen_ai_response_model",
    ];
    const histogram = (name: string, help: string, buckets: number[], labelNames: string[]) =>
      new Histogram({ name, help, buckets, labelNames, registers });
    const counter = (name: string, help: string, labelNames: string[] = []) =>
      new Counter({ name, help, labelNames, registers });

    this.#operation = {
      client: histogram(
        "gen_ai_client_operation_duration_seconds",
        "Duration of requests that this node asked for",
        DURATION_BUCKETS,
        [...genAi, "error_type"],
      ),
      server: histogram(
        "gen_ai_server_request_duration_seconds",
        "Duration of requests that providers of this node answered",
        DURATION_BUCKETS,
        [...genAi, "error_type"],
      ),
    };
    this.#firstToken = {
      client: histogram(
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "Time until the first chunk of a streamed answer arrived",
        FIRST_TOKEN_BUCKETS,
        genAi,
      ),
      server: histogram(
        "gen_ai_server_time_to_first_token_seconds",
        "Time until a provider made the first token",
        FIRST_TOKEN_BUCKETS,
        genAi,
      ),
    };
    this.#perToken = histogram(
      "gen_ai_server_time_per_output_token_seconds",
      "Time for each token after the first",
      PER_TOKEN_BUCKETS,
      genAi,
    );
    this.#tokens = histogram(
      "gen_ai_client_token_usage",
      "Tokens of a request by type",
      TOKEN_BUCKETS,
      [...genAi, "gen_ai_token_type"],
    );
    this.#requests = counter(
      "nexus_requests_total",
      "Requests that ended, by side and outcome",
      ["side", "outcome"],
    );
    this.#tokenTotal = counter("nexus_tokens_total", "Tokens, by side and type", [
      "side",
      "type",
    ]);
    this.#retries = counter("nexus_request_retries_total", "Attempts that failed and were retried");
    this.#handshakes = counter("nexus_handshakes_total", "Handshakes that ended", [
      "side",
      "outcome",
    ]);
    this.#handshakeDuration = histogram(
      "nexus_handshake_duration_seconds",
      "Duration of handshakes that succeeded",
      HANDSHAKE_BUCKETS,
      ["side"],
    );
    this.#pull(source, version, startedUnixS);
  }

  /** A request ended. */
  operation(record: OperationRecord): void {
    const { side, error, durationS, firstTokenS, inputTokens, outputTokens } = record;
    const labels: Record<string, string> = {
      gen_ai_operation_name: record.operation,
      gen_ai_provider_name: record.provider,
      gen_ai_response_model: this.#model(record.model),
    };
    this.#operation[side].observe({ ...labels, error_type: error ?? "" }, durationS);
    this.#requests.inc({ side, outcome: error ?? "ok" });
    if (firstTokenS !== undefined) this.#firstToken[side].observe(labels, firstTokenS);
    const counts = [["input", inputTokens], ["output", outputTokens]] as const;
    for (const [type, count] of counts) {
      if (count === undefined) continue;
      this.#tokenTotal.inc({ side, type }, count);
      // Counted where it was asked for only: one request crosses two nodes.
      if (side === "client") this.#tokens.observe({ ...labels, gen_ai_token_type: type }, count);
    }
    if (side === "server" && firstTokenS !== undefined && outputTokens !== undefined) {
      if (outputTokens > 1) {
        this.#perToken.observe(labels, (durationS - firstTokenS) / (outputTokens - 1));
      }
    }
  }

  /** An attempt failed before its first token and another follows. */
  retry(): void {
    this.#retries.inc();
  }

  /** A handshake ended; `outcome` is "ok" or the code of the refusal. */
  handshake(side: "client" | "server", outcome: string, durationS: number): void {
    this.#handshakes.inc({ side, outcome });
    if (outcome === "ok") this.#handshakeDuration.observe({ side }, durationS);
  }

  /** The text of a scrape. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  #model(name = "unknown"): string {
    if (this.#models.has(name)) return name;
    if (this.#models.size >= MODELS_MAX) return "other";
    this.#models.add(name);
    return name;
  }

  /** Values that are read when somebody scrapes. */
  #pull(source: MetricsSource, version: string, startedUnixS: number): void {
    const registers = [this.registry];
    const gauge = (name: string, help: string, read: (metric: Gauge) => void, labels?: string[]) =>
      new Gauge({
        name,
        help,
        registers,
        labelNames: labels ?? [],
        collect() {
          this.reset();
          read(this);
        },
      });
    const count = (
      name: string,
      help: string,
      labelNames: string[],
      read: (n: NetworkNumbers) => Iterable<[Record<string, string>, number]>,
    ) =>
      new Counter({
        name,
        help,
        registers,
        labelNames,
        collect() {
          this.reset();
          for (const [labels, value] of read(source.network())) this.inc(labels, value);
        },
      });
    const direction = (sent: number, received: number): [Record<string, string>, number][] => [
      [{ direction: "transmit" }, sent],
      [{ direction: "receive" }, received],
    ];

    count(
      "nexus_frames_total",
      "Frames at the mesh port",
      ["direction"],
      (n) => direction(n.framesSent, n.framesReceived),
    );
    count(
      "nexus_network_io_bytes_total",
      "Bytes of frames at the mesh port",
      ["direction"],
      (n) => direction(n.bytesSent, n.bytesReceived),
    );
    count(
      "nexus_frames_dropped_total",
      "Received frames that were dropped, by reason",
      ["reason"],
      (n) => Object.entries(n.drops).map(([reason, value]) => [{ reason }, value]),
    );
    count(
      "nexus_retransmissions_total",
      "Packets whose data was sent again",
      [],
      (n) => [[{}, n.retransmissions]],
    );
    gauge("nexus_connections", "Connections that stand", (metric) => {
      const { client, server } = source.network().connections;
      metric.set({ side: "client" }, client);
      metric.set({ side: "server" }, server);
    }, ["side"]);
    gauge("nexus_streams", "Streams that are open", (m) => m.set(source.network().streams));
    gauge(
      "nexus_known_nodes",
      "Nodes in the routing table",
      (m) => m.set(source.node().knownNodes),
    );
    gauge("nexus_routes", "Models in the routing table", (m) => m.set(source.node().routes));
    gauge(
      "nexus_requests_active",
      "Requests that run on this node",
      (m) => m.set(source.node().activeRequests),
    );
    gauge(
      "nexus_requests_queued",
      "Requests that wait on this node",
      (m) => m.set(source.node().queuedRequests),
    );
    gauge("nexus_load_ratio", "Load as advertised, 0 to 1", (m) => m.set(source.node().load));
    gauge("nexus_ready", "1 when the node serves", (m) => m.set(Number(source.node().ready)));
    gauge(
      "nexus_draining",
      "1 while the node drains",
      (m) => m.set(Number(source.node().draining)),
    );
    const provider = (name: string, help: string, pick: (p: ProviderNumbers) => number) =>
      gauge(name, help, (metric) => {
        for (const [name, numbers] of Object.entries(source.providers())) {
          metric.set({ provider: name }, pick(numbers));
        }
      }, ["provider"]);
    provider("nexus_provider_up", "1 when the provider answers", ({ up }) => Number(up));
    provider("nexus_provider_active", "Requests at the provider", ({ active }) => active);
    provider("nexus_provider_queued", "Requests waiting for it", ({ queueDepth }) => queueDepth);
    gauge("nexus_certificate_not_after_seconds", "When the certificate ends, Unix time", (m) => {
      const at = source.certificateNotAfterS();
      if (at !== undefined) m.set(at);
    });
    gauge(
      "nexus_build_info",
      "Always 1; the version is the label",
      (m) => m.set({ version }, 1),
      ["version"],
    );
    gauge(
      "process_start_time_seconds",
      "When the process started, Unix time",
      (m) => m.set(startedUnixS),
    );
    gauge(
      "process_resident_memory_bytes",
      "Resident memory",
      (m) => m.set(Deno.memoryUsage().rss),
    );
  }
}

type ProviderNumbers = ReturnType<MetricsSource["providers"]>[string];

/** `count` boundaries from `first`, each `factor` times the one before, without binary dust. */
function powers(first: number, factor: number, count: number): number[] {
  return Array.from({ length: count }, (_, n) => Number((first * factor ** n).toPrecision(9)));
}
