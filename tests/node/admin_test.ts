import assert from "node:assert/strict";
import fc from "fast-check";
import type { z } from "zod";
import { NexusError } from "../../lib/base/mod.ts";
import {
  ADMIN_PATHS,
  type CertificateSummary,
  ConnectionList,
  DrainResponse,
  ErrorBody,
  Health,
  InferEvent,
  type InferRequest,
  Invite,
  type InviteRequest,
  NodeInfo,
  NodeList,
  PeerList,
  Readiness,
  ResolveResponse,
  RouteTable,
  TrustMic,
  VersionInfo,
} from "../../lib/admin_api/mod.ts";
import { type AdminBackend, AdminServer } from "../../lib/node/admin/mod.ts";
import { BODY_BYTES_MAX } from "../../lib/node/admin/app.ts";
import { hasToken, hostAllowed, isLoopbackAddress } from "../../lib/node/admin/guards.ts";

const TOKEN = "nxa_" + "t".repeat(43);
const NODE_ID = "00112233445566778899aabbccddeeff";
const SHA = "ab".repeat(32);
const REQUEST_BYTES_MAX = 1 << 20;

const certificate: CertificateSummary = {
  serial: SHA,
  nodeId: NODE_ID,
  publicKey: SHA,
  fingerprint: SHA,
  issuerNodeId: NODE_ID,
  notBeforeS: 1,
  notAfterS: 2,
  role: "node",
  capabilities: ["text_gen"],
  models: ["m"],
  bytes: 300,
};

const end = {
  type: "end",
  finishReason: "stop",
  nodeId: NODE_ID,
  model: "m",
  usage: { promptTokens: 1, completionTokens: 2, cachedTokens: 0 },
  chunks: 2,
  latencyMs: 3,
} as const;

/** A backend that answers with fixed values and remembers what it was asked. */
class FakeBackend implements AdminBackend {
  isReady = true;
  readonly invites: InviteRequest[] = [];
  readonly inferred: InferRequest[] = [];
  readonly drains: (string | number | undefined)[] = [];
  events: (signal: AbortSignal) => AsyncIterable<InferEvent> = async function* () {
    yield { type: "start", nodeId: NODE_ID, model: "m" };
    yield { type: "chunk", sequence: 0, index: 0, text: "one\ntwo" };
    yield { type: "chunk", sequence: 1, index: 0, text: "drei — 3" };
    yield end;
  };

  ready = () => this.isReady;
  version = () => ({ version: "0.1.0", protocol: 1, api: 1, runtime: "deno", platform: "x" });
  node = () => ({
    id: NODE_ID,
    name: "n",
    state: "running" as const,
    notReady: [],
    version: "0.1.0",
    vni: 1,
    pid: 2,
    startedAtMs: 3,
    uptimeS: 4,
    stateDir: "/s",
    addresses: { link: ["127.0.0.1:1"], advertised: [] },
    port: { kind: "udp" },
    crypto: "noble",
    certificate,
    ca: { fingerprint: SHA, here: true },
    models: ["m"],
    providers: [],
    connections: 0,
    activeRequests: 0,
  });
  nodes = () => [{
    id: NODE_ID,
    self: true,
    addresses: [],
    connected: true,
    models: [],
    capabilities: [],
  }];
  peers = () => [{ addresses: ["a:1"], source: "seed" as const, connected: false }];
  connections = () => [];
  routes = () => ({ version: 7, routes: [] });
  resolve(sad: string) {
    if (sad === "bug") throw new TypeError("secret detail of a bug");
    if (!sad.includes("=")) {
      throw new NexusError("SAD_SYNTAX", `cannot read SAD: term "${sad}"`, { hint: "write cap=…" });
    }
    return {
      sad,
      durationUs: 5,
      candidates: [{ nodeId: NODE_ID, model: "m", chosen: false, rejected: "no" }],
    };
  }
  infer(request: InferRequest, signal: AbortSignal) {
    this.inferred.push(request);
    return this.events(signal);
  }
  createInvite(request: InviteRequest) {
    if (request.uses === 9) throw new NexusError("NOT_A_CA", "cannot make invite: CA is elsewhere");
    this.invites.push(request);
    return { token: "nxi1_x", id: "00", expiresS: 5, uses: request.uses };
  }
  mic = () => ({ chain: [certificate], encoded: ["TUlD"], roots: [SHA] });
  drain() {
    this.drains.push("drain");
    return { state: "draining" as const, activeRequests: 1 };
  }
  shutdown(deadlineMs?: number) {
    this.drains.push("shutdown", deadlineMs);
    return { state: "draining" as const, activeRequests: 0 };
  }
  metrics = () => Promise.resolve("nexus_ready 1\n");
}

interface Running {
  readonly backend: FakeBackend;
  readonly server: AdminServer;
  readonly faults: unknown[];
  readonly url: string;
  call(path: string, init?: RequestInit): Promise<Response>;
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
}

/** A test against a real server on a loopback port. */
function withServer(work: (running: Running) => Promise<void>): () => Promise<void> {
  return async () => {
    const backend = new FakeBackend();
    const faults: unknown[] = [];
    const server = AdminServer.start({
      backend,
      token: TOKEN,
      listen: { host: "127.0.0.1", port: 0 },
      hosts: ["nexus.example"],
      requestBytesMax: REQUEST_BYTES_MAX,
      onFault: (thrown) => faults.push(thrown),
    });
    const url = `http://127.0.0.1:${server.address.port}`;
    const call = (path: string, init: RequestInit = {}) =>
      fetch(url + path, {
        ...init,
        headers: { authorization: `Bearer ${TOKEN}`, ...init.headers as Record<string, string> },
      });
    const post = (path: string, body: unknown, init: RequestInit = {}) =>
      call(path, {
        method: "POST",
        body: typeof body === "string" ? body : JSON.stringify(body),
        ...init,
        headers: { "content-type": "application/json", ...init.headers as Record<string, string> },
      });
    try {
      await work({ backend, server, faults, url, call, post });
    } finally {
      await server.close();
    }
  };
}

/** Checks an error answer: status, shape, code; returns it. */
async function failed(response: Response, status: number, code: string) {
  const text = await response.text();
  assert.equal(response.status, status, text);
  const { error } = ErrorBody.parse(JSON.parse(text));
  assert.equal(error.code, code, text);
  assert.ok(!error.message.includes("\n"));
  return error;
}

async function answered<T>(response: Response, status: number, schema: z.ZodType<T>): Promise<T> {
  const text = await response.text();
  assert.equal(response.status, status, text);
  assert.match(response.headers.get("content-type")!, /^application\/json/);
  assert.equal(response.headers.get("cache-control"), "no-store");
  return schema.parse(JSON.parse(text));
}

/** Sends text as it is, says that there is no more if asked to, and reads the whole answer. */
async function raw(port: number, text: string, halfClose = false): Promise<string> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  try {
    // A server may refuse and close before it has everything.
    await new Blob([text]).stream().pipeTo(connection.writable, {
      preventClose: true,
      preventAbort: true,
      preventCancel: true,
    }).catch(() => {});
    if (halfClose) await connection.closeWrite().catch(() => {});
    return await new Response(connection.readable).text().catch(() => "");
  } finally {
    try {
      connection.close();
    } catch {
      // Closed by reading to its end.
    }
  }
}

async function readEvents(response: Response): Promise<InferEvent[]> {
  const text = await response.text();
  return text.split("\n\n").filter((block) => block !== "").map((block) => {
    const match = /^event: (\w+)\ndata: (.*)$/.exec(block);
    assert.ok(match, block);
    const event = InferEvent.parse(JSON.parse(match[2]));
    assert.equal(event.type, match[1]);
    return event;
  });
}

const ask = { sad: "cap=text_gen", prompt: "hi" };

Deno.test(
  "admin: health and readiness answer without a token and say no more than needed",
  withServer(async ({ url, backend }) => {
    assert.deepEqual(await answered(await fetch(url + "/healthz"), 200, Health), { status: "ok" });
    assert.deepEqual(await answered(await fetch(url + "/readyz"), 200, Readiness), { ready: true });
    backend.isReady = false;
    assert.deepEqual(await answered(await fetch(url + "/readyz"), 503, Readiness), {
      ready: false,
    });
  }),
);

Deno.test(
  "admin: every query answers what its schema says",
  withServer(async ({ call }) => {
    const queries: [string, z.ZodType][] = [
      [ADMIN_PATHS.version, VersionInfo],
      [ADMIN_PATHS.node, NodeInfo],
      [ADMIN_PATHS.nodes, NodeList],
      [ADMIN_PATHS.peers, PeerList],
      [ADMIN_PATHS.connections, ConnectionList],
      [ADMIN_PATHS.routes, RouteTable],
      [ADMIN_PATHS.mic, TrustMic],
    ];
    for (const [path, schema] of queries) await answered(await call(path), 200, schema);
  }),
);

Deno.test(
  "admin: everything under /api/v1 needs the token, also paths that do not exist",
  withServer(async ({ url, backend }) => {
    const paths = Object.values(ADMIN_PATHS).filter((path) => path.startsWith("/api/"));
    for (const path of [...paths, "/api/v1/nothing", "/api/"]) {
      for (
        const authorization of [
          undefined,
          "",
          "Bearer",
          `Bearer ${TOKEN}x`,
          `Bearer ${TOKEN.slice(1)}`,
          `Basic ${TOKEN}`,
          TOKEN,
        ]
      ) {
        const headers: Record<string, string> = authorization === undefined
          ? {}
          : { authorization };
        const response = await fetch(url + path, { method: "POST", headers, body: "{}" });
        assert.match(response.headers.get("www-authenticate")!, /^Bearer/);
        await failed(response, 401, "UNAUTHORIZED");
      }
    }
    assert.deepEqual(backend.drains, []);
  }),
);

Deno.test("admin: a token is compared whole and in any case of the scheme", () => {
  assert.ok(hasToken("bearer  abc", "abc"));
  for (const header of ["Bearer ab", "Bearer abcd", "Bearer abc d", "xBearer abc", undefined]) {
    assert.ok(!hasToken(header, "abc"), header);
  }
});

Deno.test(
  "admin: metrics need no token from loopback",
  withServer(async ({ url }) => {
    const response = await fetch(url + "/metrics");
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
    assert.equal(await response.text(), "nexus_ready 1\n");
  }),
);

Deno.test("admin: metrics from another machine need the token", async () => {
  const { createAdminApp } = await import("../../lib/node/admin/mod.ts");
  const app = createAdminApp({
    backend: new FakeBackend(),
    token: TOKEN,
    listenHost: "10.0.0.1",
    requestBytesMax: 1,
    onFault: () => {},
  });
  const scrape = (remoteHost: string, headers: Record<string, string> = {}) =>
    app.request("http://10.0.0.1/metrics", { headers: { host: "10.0.0.1", ...headers } }, {
      remoteHost,
      signal: new AbortController().signal,
      closing: new AbortController().signal,
    });
  assert.equal((await scrape("10.0.0.2")).status, 401);
  assert.equal((await scrape("10.0.0.2", { authorization: `Bearer ${TOKEN}` })).status, 200);
  assert.equal((await scrape("127.0.0.1")).status, 200);
  assert.ok(isLoopbackAddress("::ffff:127.0.0.5") && isLoopbackAddress("::1"));
  assert.ok(!isLoopbackAddress("128.0.0.1") && !isLoopbackAddress("127.evil.example"));
});

Deno.test(
  "admin: the OpenAPI 3.1 document describes every path",
  withServer(async ({ url }) => {
    const document = await (await fetch(url + "/openapi.json")).json();
    assert.equal(document.openapi, "3.1.0");
    const described = Object.keys(document.paths).sort();
    const expected = Object.values(ADMIN_PATHS).filter((path) => path !== ADMIN_PATHS.openapi);
    assert.deepEqual(described, expected.sort());
    for (
      const [path, operations] of Object.entries<Record<string, { security?: unknown }>>(
        document.paths,
      )
    ) {
      for (const operation of Object.values(operations)) {
        assert.equal(operation.security !== undefined, path.startsWith("/api/"), path);
      }
    }
    assert.equal(document.components.securitySchemes.bearer.scheme, "bearer");
    assert.ok(document.components.schemas.NodeInfo, "schemas are named");
    assert.equal(
      document.paths[ADMIN_PATHS.node].get.responses["200"].content["application/json"].schema.$ref,
      "#/components/schemas/NodeInfo",
    );
  }),
);

Deno.test(
  "admin: resolve answers candidates, and a bad SAD is the caller's mistake with its hint",
  withServer(async ({ post }) => {
    const answer = await answered(
      await post(ADMIN_PATHS.resolve, { sad: "cap=text_gen" }),
      200,
      ResolveResponse,
    );
    assert.equal(answer.candidates[0].rejected, "no");
    const error = await failed(await post(ADMIN_PATHS.resolve, { sad: "x" }), 400, "SAD_SYNTAX");
    assert.equal(error.hint, "write cap=…");
  }),
);

Deno.test(
  "admin: an invite takes defaults from an empty body and refuses what is out of range",
  withServer(async ({ call, post, backend }) => {
    await answered(await call(ADMIN_PATHS.invites, { method: "POST" }), 201, Invite);
    await answered(await post(ADMIN_PATHS.invites, { uses: 3, lifeS: 60 }), 201, Invite);
    assert.deepEqual(backend.invites, [{ uses: 1, lifeS: 3600 }, { uses: 3, lifeS: 60 }]);
    for (const body of [{ uses: 0 }, { uses: 1.5 }, { uses: "1" }, { lifeS: 1e12 }, { use: 1 }]) {
      await failed(await post(ADMIN_PATHS.invites, body), 400, "INVALID_REQUEST");
    }
    await failed(await post(ADMIN_PATHS.invites, { uses: 9 }), 409, "NOT_A_CA");
    assert.equal(backend.invites.length, 2);
  }),
);

Deno.test(
  "admin: drain and shutdown are accepted with and without a deadline",
  withServer(async ({ call, post, backend }) => {
    await answered(await call(ADMIN_PATHS.drain, { method: "POST" }), 202, DrainResponse);
    await answered(await post(ADMIN_PATHS.shutdown, { deadlineMs: 5 }), 202, DrainResponse);
    assert.deepEqual(backend.drains, ["drain", "shutdown", 5]);
  }),
);

Deno.test(
  "admin: infer streams its events in order, text unharmed",
  withServer(async ({ post, backend }) => {
    const response = await post(ADMIN_PATHS.infer, ask);
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type")!, /^text\/event-stream/);
    const events = await readEvents(response);
    assert.deepEqual(events.map((event) => event.type), ["start", "chunk", "chunk", "end"]);
    assert.deepEqual(events.flatMap((event) => event.type === "chunk" ? [event.text] : []), [
      "one\ntwo",
      "drei — 3",
    ]);
    assert.deepEqual(backend.inferred, [ask]);
  }),
);

Deno.test(
  "admin: infer wants exactly one of prompt and messages",
  withServer(async ({ post, backend }) => {
    const messages = [{ role: "user", content: "hi" }];
    for (const body of [{ sad: "*" }, { ...ask, messages }, { sad: "*", messages: [] }]) {
      await failed(await post(ADMIN_PATHS.infer, body), 400, "INVALID_REQUEST");
    }
    assert.equal(
      (await readEvents(await post(ADMIN_PATHS.infer, { sad: "*", messages }))).length,
      4,
    );
    assert.equal(backend.inferred.length, 1);
  }),
);

Deno.test(
  "admin: a request that fails at once is an HTTP error, later an error event",
  withServer(async ({ post, backend, faults }) => {
    // deno-lint-ignore require-yield
    backend.events = async function* () {
      throw new NexusError("MODEL_NOT_FOUND", "cannot answer: no node has it");
    };
    await failed(await post(ADMIN_PATHS.infer, ask), 404, "MODEL_NOT_FOUND");
    backend.events = async function* () {
      yield { type: "chunk", sequence: 0, index: 0, text: "a" };
      throw Object.assign(new NexusError("TIMEOUT", "cannot wait longer"), { retryable: true });
    };
    const events = await readEvents(await post(ADMIN_PATHS.infer, ask));
    assert.deepEqual(events[1], {
      type: "error",
      code: "TIMEOUT",
      message: "cannot wait longer",
      retryable: true,
    });
    assert.equal(faults.length, 0);
    backend.events = async function* () {
      yield { type: "chunk", sequence: 0, index: 0, text: "a" };
      throw new TypeError("secret detail");
    };
    const text = JSON.stringify(await readEvents(await post(ADMIN_PATHS.infer, ask)));
    assert.ok(text.includes("INTERNAL") && !text.includes("secret detail"), text);
    assert.equal(faults.length, 1);
  }),
);

Deno.test(
  "admin: a client that goes away stops its request",
  withServer(async ({ post, backend }) => {
    const stopped = Promise.withResolvers<void>();
    backend.events = async function* (signal) {
      signal.addEventListener("abort", () => stopped.resolve());
      yield { type: "start", nodeId: NODE_ID, model: "m" };
      await stopped.promise;
    };
    const response = await post(ADMIN_PATHS.infer, ask);
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    await stopped.promise;
  }),
);

Deno.test("admin: closing the server stops the requests that run", async () => {
  let aborted = false;
  await withServer(async ({ post, backend, server }) => {
    backend.events = async function* (signal) {
      yield { type: "start", nodeId: NODE_ID, model: "m" };
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      aborted = true;
      throw new NexusError("CANCELLED", "cannot finish: the node closes");
    };
    const response = await post(ADMIN_PATHS.infer, ask);
    const closing = server.close();
    const events = await readEvents(response);
    assert.equal(events.at(-1)?.type, "error");
    await closing;
  })();
  assert.ok(aborted);
});

Deno.test(
  "admin: unknown paths are 404 and wrong methods 405 with Allow",
  withServer(async ({ call }) => {
    for (
      const path of ["/", "/api/v1", "/api/v1/nodes/", "/api/v1/NODES", "/..%2f", "/healthz/x"]
    ) {
      await failed(await call(path), 404, "NOT_FOUND");
    }
    for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
      const response = await call(ADMIN_PATHS.nodes, { method });
      assert.equal(response.headers.get("allow"), "GET, HEAD");
      await failed(response, 405, "METHOD_NOT_ALLOWED");
    }
    await failed(await call(ADMIN_PATHS.infer), 405, "METHOD_NOT_ALLOWED");
    const head = await call(ADMIN_PATHS.healthz, { method: "HEAD" });
    assert.equal(head.status, 200);
    await head.body?.cancel();
  }),
);

Deno.test(
  "admin: bodies that are not JSON, not UTF-8 or of another type are 4xx",
  withServer(async ({ post }) => {
    for (const body of ["{", "nope", '{"sad":}', "[".repeat(50_000), '"', "\u0000"]) {
      await failed(await post(ADMIN_PATHS.resolve, body), 400, "MALFORMED_JSON");
    }
    const bytes = Uint8Array.of(0x22, 0xff, 0xfe, 0x22);
    await failed(await post(ADMIN_PATHS.resolve, "", { body: bytes }), 400, "MALFORMED");
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
      await failed(
        await post(ADMIN_PATHS.resolve, '{"sad":"*"}', { headers: { "content-type": type } }),
        415,
        "UNSUPPORTED_MEDIA_TYPE",
      );
    }
    for (const body of ["null", "5", '"x"', "[]", '{"sad":5}', '{"sad":"a=b","x":1}', "{}"]) {
      await failed(await post(ADMIN_PATHS.resolve, body), 400, "INVALID_REQUEST");
    }
    const long = JSON.stringify({ sad: "x".repeat(3000) });
    await failed(await post(ADMIN_PATHS.resolve, long), 400, "INVALID_REQUEST");
  }),
);

Deno.test(
  "admin: oversized bodies are 413 with a limit for each path, sized or chunked",
  withServer(async ({ post, backend }) => {
    const body = (length: number) => JSON.stringify({ ...ask, prompt: "x".repeat(length) });
    await failed(await post(ADMIN_PATHS.resolve, body(BODY_BYTES_MAX)), 413, "TOO_LARGE");
    await failed(await post(ADMIN_PATHS.infer, body(REQUEST_BYTES_MAX)), 413, "TOO_LARGE");
    const chunked = new Blob([body(2 * REQUEST_BYTES_MAX)]).stream();
    await failed(await post(ADMIN_PATHS.infer, "", { body: chunked }), 413, "TOO_LARGE");
    assert.equal(backend.inferred.length, 0);
    const fits = await post(ADMIN_PATHS.infer, body(REQUEST_BYTES_MAX - 100));
    assert.equal((await readEvents(fits)).length, 4);
  }),
);

Deno.test(
  "admin: a body far past the limit is refused unread and the server lives",
  withServer(async ({ server, call }) => {
    const head = `POST ${ADMIN_PATHS.infer} HTTP/1.1\r\nhost: localhost\r\n` +
      `authorization: Bearer ${TOKEN}\r\ncontent-type: application/json\r\n` +
      `content-length: 40000000000\r\n\r\n{`;
    const refusal = await raw(server.address.port, head);
    assert.match(refusal, /^HTTP\/1\.1 413 /);
    assert.match(refusal, /^connection: close\r$/im);
    assert.equal((await (await call(ADMIN_PATHS.version)).json()).version, "0.1.0");
  }),
);

Deno.test(
  "admin: a fault of ours is 500 without its detail, and is reported",
  withServer(async ({ post, faults }) => {
    const error = await failed(await post(ADMIN_PATHS.resolve, { sad: "bug" }), 500, "INTERNAL");
    assert.ok(!error.message.includes("secret detail"));
    assert.equal(faults.length, 1);
  }),
);

Deno.test(
  "admin: a foreign Host is refused, so that DNS rebinding gains nothing",
  withServer(async ({ server }) => {
    const { port } = server.address;
    const get = (host: string) =>
      raw(port, `GET /healthz HTTP/1.1\r\n${host}connection: close\r\n\r\n`);
    for (
      const host of [`127.0.0.1:${port}`, "localhost", "[::1]:1", "nexus.example", "LOCALHOST."]
    ) {
      assert.match(await get(`host: ${host}\r\n`), /^HTTP\/1\.1 200 /, host);
    }
    for (
      const host of ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "8.8.8.8"]
    ) {
      assert.match(await get(`host: ${host}\r\n`), /^HTTP\/1\.1 403 [^]*HOST_REFUSED/, host);
    }
    assert.match(await get(""), /^HTTP\/1\.1 400 /);
  }),
);

Deno.test("admin: allowed hosts follow the listening address", () => {
  assert.ok(hostAllowed("10.0.0.1:6478", "10.0.0.1", []));
  assert.ok(!hostAllowed("10.0.0.2:6478", "10.0.0.1", []));
  assert.ok(hostAllowed("10.0.0.2:6478", "0.0.0.0", []));
  assert.ok(hostAllowed("[2001:db8::1]:6478", "::", []));
  assert.ok(!hostAllowed("name.example", "0.0.0.0", []));
  assert.ok(hostAllowed("Name.Example:1", "0.0.0.0", ["name.example"]));
  for (const host of ["", "a b", "user@localhost", "localhost:99999999", "[::1", "a/b"]) {
    assert.ok(!hostAllowed(host, "0.0.0.0", []), host);
  }
});

Deno.test(
  "admin: garbage on the port is answered 4xx or closed, and the server lives",
  withServer(async ({ server, call, faults }) => {
    const { port } = server.address;
    const garbage = [
      "\x00\x01\x02\x03",
      "GET / HTTP/9.9\r\n\r\n",
      "GET /\u0000 HTTP/1.1\r\nhost: localhost\r\n\r\n",
      "GET http://[ HTTP/1.1\r\nhost: localhost\r\n\r\n",
      `GET /${"x".repeat(100_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`,
      `GET / HTTP/1.1\r\n${"a: b\r\n".repeat(5000)}\r\n`,
      `POST ${ADMIN_PATHS.resolve} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n` +
      `authorization: Bearer ${TOKEN}\r\ncontent-type: application/json\r\n\r\nZZ\r\n`,
      `POST ${ADMIN_PATHS.resolve} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n` +
      `authorization: Bearer ${TOKEN}\r\ncontent-type: application/json\r\n\r\n{"sad"`,
    ];
    for (const text of garbage) {
      const answer = await raw(port, text, true);
      assert.match(answer, /^(HTTP\/1\.[01] 4\d\d [^]*)?$/, text.slice(0, 60));
    }
    await answered(await call(ADMIN_PATHS.version), 200, VersionInfo);
    assert.deepEqual(faults, []);
  }),
);

Deno.test(
  "admin: any method, path and body is answered below 500",
  withServer(async ({ post, call, faults }) => {
    const paths = fc.oneof(
      fc.constantFrom(...Object.values(ADMIN_PATHS)),
      fc.webPath(),
      fc.string({ unit: "binary", maxLength: 40 }).map((text) => "/" + encodeURIComponent(text)),
    );
    const bodies = fc.oneof(
      fc.json(),
      fc.string({ unit: "binary", maxLength: 200 }),
      fc.record({
        sad: fc.oneof(fc.constant("a=b"), fc.anything()),
        prompt: fc.anything(),
        deadlineMs: fc.anything(),
        uses: fc.anything(),
      }, { requiredKeys: [] }).map((value) => JSON.stringify(value) ?? ""),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("GET", "POST", "PUT", "DELETE"),
        paths,
        bodies,
        async (method, path, body) => {
          const response = method === "GET"
            ? await call(path)
            : await post(path, body.toWellFormed(), { method });
          await response.body?.cancel();
          assert.ok(response.status < 500, `${method} ${path} ${body} → ${response.status}`);
        },
      ),
      { numRuns: 150 },
    );
    assert.deepEqual(faults, []);
  }),
);

Deno.test("admin: an address in use is one line that names it", async () => {
  await withServer((first) => {
    const options = {
      backend: first.backend,
      token: TOKEN,
      listen: { host: "127.0.0.1", port: first.server.address.port },
      requestBytesMax: 1,
      onFault: () => {},
    };
    assert.throws(() => AdminServer.start(options), (thrown) => {
      assert.ok(thrown instanceof NexusError);
      assert.equal(thrown.code, "ADDRESS_IN_USE");
      assert.match(thrown.message, /^cannot listen on 127\.0\.0\.1:\d+ .*: .+$/);
      return true;
    });
    return Promise.resolve();
  })();
});

Deno.test("admin: an answer of the wire that does not fit a schema is refused by the client", () => {
  assert.equal(NodeInfo.safeParse({ id: "x" }).success, false);
  assert.equal(InferEvent.safeParse({ type: "unknown" }).success, false);
});
