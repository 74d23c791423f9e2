/** The routes of the admin API. Schemas are in lib/admin_api; the work is the backend's. */
import { createRoute, OpenAPIHono } from "@hono/zod-openapi";
import { HTTPException } from "hono/http-exception";
import { z } from "zod";
import { NexusError } from "../../base/mod.ts";
import {
  ADMIN_API_VERSION,
  ADMIN_PATHS,
  ConnectionList,
  DrainRequest,
  DrainResponse,
  ErrorBody,
  Health,
  InferEvent,
  InferRequest,
  Invite,
  InviteRequest,
  NodeInfo,
  NodeList,
  PeerList,
  Readiness,
  ResolveRequest,
  ResolveResponse,
  RouteTable,
  ShutdownRequest,
  TrustMic,
  VersionInfo,
} from "../../admin_api/mod.ts";
import { joinSignals } from "../../sdk/mod.ts";
import type { AdminBackend } from "./backend.ts";
import { errorResponse, invalidRequest, malformedJson } from "./errors.ts";
import { eventStream } from "./event_stream.ts";
import { type AdminEnv, bodyGuard, hostGuard, isLoopbackAddress, tokenGuard } from "./guards.ts";

/** Largest body of every request but inference: a SAD and a few numbers. */
export const BODY_BYTES_MAX = 64 * 1024;

/** What the app needs to know. */
export interface AdminAppOptions {
  readonly backend: AdminBackend;
  /** The bearer token. */
  readonly token: string;
  /** Host that the server listens on. */
  readonly listenHost: string;
  /** Further Host header values to serve. */
  readonly hosts?: readonly string[];
  /** Largest body of an inference request, bytes. */
  readonly requestBytesMax: number;
  /** Told of every failure that is the node's own fault. */
  readonly onFault: (thrown: unknown) => void;
}

/** The app, ready for any server that gives `Bindings`. */
export function createAdminApp(options: AdminAppOptions): OpenAPIHono<AdminEnv> {
  const { backend, token, onFault } = options;
  const app = new OpenAPIHono<AdminEnv>({
    defaultHook: (result) => {
      if (!result.success) throw invalidRequest(result.error.issues);
    },
  });

  app.onError((error) => {
    // The only HTTPException is the validator's, for a body that is not JSON.
    const thrown = error instanceof HTTPException ? malformedJson(error.cause ?? error) : error;
    const response = errorResponse(
      thrown,
      thrown instanceof NexusError && thrown.code === "UNAUTHORIZED"
        ? { "www-authenticate": 'Bearer realm="nexus admin"' }
        : {},
    );
    if (response.status === 500) onFault(thrown);
    return response;
  });
  app.use(async (c, next) => {
    await next();
    c.res.headers.set("cache-control", "no-store");
    c.res.headers.set("x-content-type-options", "nosniff");
  });
  app.use(hostGuard(options.listenHost, options.hosts ?? []));
  app.use("/api/*", tokenGuard(token));
  // Scrapers on this machine need no token; the numbers hold no secret. From elsewhere (also
  // through a proxy on another machine) the token is asked for.
  app.use(
    ADMIN_PATHS.metrics,
    tokenGuard(token, ({ remoteHost }) => isLoopbackAddress(remoteHost)),
  );
  app.post(ADMIN_PATHS.infer, bodyGuard(options.requestBytesMax));
  for (const path of SMALL_POSTS) app.post(path, bodyGuard(BODY_BYTES_MAX));

  probes(app, backend);
  queries(app, backend);
  actions(app, backend, onFault);
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    description: "The text of admin.token in the state directory of the node",
  });
  const document = app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Nexus node admin API",
      version: String(ADMIN_API_VERSION),
      description: "Every error is {error: {code, message, hint?}}.",
      license: { name: "BUSL-1.1" },
    },
  });
  app.get(ADMIN_PATHS.openapi, (c) => c.json(document));

  const methods = methodsByPath(app);
  app.notFound((c) => {
    const allowed = methods.get(c.req.path);
    if (allowed === undefined) {
      return errorResponse(new NexusError("NOT_FOUND", "cannot answer: there is no such path"));
    }
    const allow = allowed.join(", ");
    const error = new NexusError(
      "METHOD_NOT_ALLOWED",
      `cannot answer: this path takes ${allow} only`,
    );
    return errorResponse(error, { allow });
  });
  return app;
}

const SMALL_POSTS = [
  ADMIN_PATHS.resolve,
  ADMIN_PATHS.invites,
  ADMIN_PATHS.drain,
  ADMIN_PATHS.shutdown,
];

/** Unauthenticated, minimal: for load balancers, service managers and Prometheus. */
function probes(app: OpenAPIHono<AdminEnv>, backend: AdminBackend): void {
  app.openapi(
    createRoute({
      method: "get",
      path: ADMIN_PATHS.healthz,
      summary: "The process answers",
      responses: { 200: json(Health, "It does") },
    }),
    (c) => c.json({ status: "ok" as const }, 200),
  );
  app.openapi(
    createRoute({
      method: "get",
      path: ADMIN_PATHS.readyz,
      summary: "The node serves",
      responses: { 200: json(Readiness, "Ready"), 503: json(Readiness, "Starting or draining") },
    }),
    (c) => backend.ready() ? c.json({ ready: true }, 200) : c.json({ ready: false }, 503),
  );
  app.openapi(
    createRoute({
      method: "get",
      path: ADMIN_PATHS.metrics,
      summary: "Metrics for Prometheus; needs the token unless asked from this machine",
      responses: {
        200: { description: "Text format", content: { "text/plain": { schema: TEXT } } },
        401: json(ErrorBody, "From another machine, without token"),
      },
    }),
    async (c) =>
      c.text(await backend.metrics(), 200, {
        "content-type": "text/plain; version=0.0.4; charset=utf-8",
      }),
  );
}

function queries(app: OpenAPIHono<AdminEnv>, backend: AdminBackend): void {
  app.openapi(
    query(ADMIN_PATHS.version, "Versions", VersionInfo),
    (c) => c.json(backend.version(), 200),
  );
  app.openapi(
    query(ADMIN_PATHS.node, "This node", NodeInfo),
    (c) => c.json(backend.node(), 200),
  );
  app.openapi(
    query(ADMIN_PATHS.nodes, "Nodes of the mesh that this node knows", NodeList),
    (c) => c.json({ nodes: backend.nodes() }, 200),
  );
  app.openapi(
    query(ADMIN_PATHS.peers, "Nodes remembered across restarts, and seeds", PeerList),
    (c) => c.json({ peers: backend.peers() }, 200),
  );
  app.openapi(
    query(ADMIN_PATHS.connections, "Connections that stand", ConnectionList),
    (c) => c.json({ connections: backend.connections() }, 200),
  );
  app.openapi(
    query(ADMIN_PATHS.routes, "The routing table", RouteTable),
    (c) => c.json(backend.routes(), 200),
  );
  app.openapi(
    query(ADMIN_PATHS.mic, "Certificate chain of this node", TrustMic),
    (c) => c.json(backend.mic(), 200),
  );
}

function actions(
  app: OpenAPIHono<AdminEnv>,
  backend: AdminBackend,
  onFault: (thrown: unknown) => void,
): void {
  app.openapi(
    createRoute({
      ...post(ADMIN_PATHS.resolve, "What a SAD resolves to, and why", ResolveRequest),
      responses: { 200: json(ResolveResponse, "All candidates"), ...FAILURES },
    }),
    async (c) => c.json(await backend.resolve(c.req.valid("json").sad), 200),
  );
  app.openapi(
    createRoute({
      ...post(ADMIN_PATHS.invites, "Make an invite token", InviteRequest),
      responses: {
        201: json(Invite, "The token; it is shown this once"),
        409: json(ErrorBody, "The mesh's CA is on another node"),
        ...FAILURES,
      },
    }),
    async (c) => c.json(await backend.createInvite(c.req.valid("json")), 201),
  );
  app.openapi(
    createRoute({
      ...post(ADMIN_PATHS.drain, "Take no new work", DrainRequest),
      responses: { 202: json(DrainResponse, "Draining"), ...FAILURES },
    }),
    (c) => c.json(backend.drain(), 202),
  );
  app.openapi(
    createRoute({
      ...post(ADMIN_PATHS.shutdown, "Drain, then end the process", ShutdownRequest),
      responses: { 202: json(DrainResponse, "Draining"), ...FAILURES },
    }),
    (c) => c.json(backend.shutdown(c.req.valid("json").deadlineMs), 202),
  );
  app.openapi(
    createRoute({
      ...post(ADMIN_PATHS.infer, "Ask a model; events as they happen", InferRequest),
      responses: {
        200: {
          description: "Server-sent events; data is one InferEvent, event its type",
          content: { "text/event-stream": { schema: InferEvent } },
        },
        ...FAILURES,
      },
    }),
    async (c) => {
      const stopper = new AbortController();
      const { signal, release } = joinSignals(c.env.signal, c.env.closing, stopper.signal);
      const events = thenRelease(backend.infer(c.req.valid("json"), signal), release);
      // A Response of its own: the route's type knows no streams.
      return await eventStream(events, () => stopper.abort(), onFault) as never;
    },
  );
}

async function* thenRelease<E>(events: AsyncIterable<E>, release: () => void): AsyncGenerator<E> {
  try {
    yield* events;
  } finally {
    release();
  }
}

function json<T extends z.ZodType>(schema: T, description: string) {
  return { description, content: { "application/json": { schema } } };
}

const TEXT = z.string();
const SECURITY = [{ bearer: [] }];
const FAILURES = {
  400: json(ErrorBody, "The request is wrong"),
  401: json(ErrorBody, "No valid token"),
  413: json(ErrorBody, "The body is too large"),
};

function query<T extends z.ZodType, P extends string>(path: P, summary: string, schema: T) {
  return createRoute({
    method: "get",
    path,
    summary,
    security: SECURITY,
    responses: { 200: json(schema, summary), 401: FAILURES[401] },
  });
}

function post<T extends z.ZodType, P extends string>(path: P, summary: string, schema: T) {
  const body = { content: { "application/json": { schema } }, required: true as const };
  return { method: "post" as const, path, summary, security: SECURITY, request: { body } };
}

/** Which methods each path takes, for 405. */
function methodsByPath(app: OpenAPIHono<AdminEnv>): Map<string, string[]> {
  const methods = new Map<string, Set<string>>();
  for (const { path, method } of app.routes) {
    if (method === "ALL" || path.includes("*")) continue;
    const set = methods.get(path) ?? new Set();
    set.add(method);
    if (method === "GET") set.add("HEAD");
    methods.set(path, set);
  }
  return new Map([...methods].map(([path, set]) => [path, [...set].sort()]));
}
