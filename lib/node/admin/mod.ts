/** The admin HTTP API of a node. */
export type { AdminBackend } from "./backend.ts";
export { AdminServer, type AdminServerOptions } from "./server.ts";
export { type AdminAppOptions, createAdminApp } from "./app.ts";
export { statusOf } from "./errors.ts";
