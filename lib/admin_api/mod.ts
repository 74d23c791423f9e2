/** Schemas and types of the admin HTTP API, shared by the node (server) and ctl (client). */
export * from "./common.ts";
export * from "./node.ts";
export * from "./routes.ts";
export * from "./infer.ts";
export * from "./trust.ts";
export * from "./certificate.ts";
