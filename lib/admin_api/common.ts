/** Paths, errors and value types that every part of the admin API uses. */
import { z } from "zod";

/** Where each operation lives. One place, so that client and server cannot drift apart. */
export const ADMIN_PATHS = {
  healthz: "/healthz",
  readyz: "/readyz",
  metrics: "/metrics",
  openapi: "/openapi.json",
  version: "/api/v1/version",
  node: "/api/v1/node",
  nodes: "/api/v1/nodes",
  peers: "/api/v1/peers",
  connections: "/api/v1/connections",
  routes: "/api/v1/routes",
  resolve: "/api/v1/routes/resolve",
  infer: "/api/v1/infer",
  invites: "/api/v1/invites",
  mic: "/api/v1/trust/mic",
  drain: "/api/v1/drain",
  shutdown: "/api/v1/shutdown",
} as const;

/** Version of the admin API, the `v1` of its paths. */
export const ADMIN_API_VERSION = 1;

/** Text of a SAD in a request; its binary form is at most 512 bytes. */
export const SAD_TEXT_CHARS_MAX = 2048;

/** A node id: 32 lower-case hex digits. */
export const NodeIdText = z.string().regex(/^[0-9a-f]{32}$/, "is not 32 lower-case hex digits")
  .meta({ description: "Node id, 32 lower-case hex digits" });

/** SHA-256 as lower-case hex. */
export const Sha256Text = z.string().regex(/^[0-9a-f]{64}$/, "is not 64 lower-case hex digits")
  .meta({ description: "SHA-256, 64 lower-case hex digits" });

/** Every error of the API: a stable word for programs, one line for people, what to do next. */
export const ErrorBody = z.object({
  error: z.object({
    code: z.string().meta({ example: "SAD_SYNTAX" }),
    message: z.string(),
    hint: z.string().optional(),
  }),
}).meta({ id: "Error" });
export type ErrorBody = z.infer<typeof ErrorBody>;

/** `GET /healthz`: the process answers. */
export const Health = z.object({ status: z.literal("ok") }).meta({ id: "Health" });
export type Health = z.infer<typeof Health>;

/** `GET /readyz`: 200 when the node serves, 503 while it starts or drains. */
export const Readiness = z.object({ ready: z.boolean() }).meta({ id: "Readiness" });
export type Readiness = z.infer<typeof Readiness>;

/** `GET /api/v1/version`. */
export const VersionInfo = z.object({
  version: z.string().meta({ description: "Version of the program", example: "0.1.0" }),
  protocol: z.number().int().meta({ description: "Version of the wire protocol" }),
  api: z.number().int().meta({ description: "Version of this API" }),
  runtime: z.string().meta({ example: "deno 2.7.11" }),
  platform: z.string().meta({ example: "x86_64-unknown-linux-gnu" }),
}).meta({ id: "Version" });
export type VersionInfo = z.infer<typeof VersionInfo>;
