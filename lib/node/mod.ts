/** The node daemon. */
export * from "./config/mod.ts";
export { Node } from "./node.ts";
export { isConfigMistake, runNode, type RunOptions } from "./run.ts";
export { PROTOCOL_VERSION, VERSION } from "./version.ts";
