/** The OpenAI-compatible HTTP API of a node. */
export { type BridgeOptions, createBridge } from "./app.ts";
export { BODY_BYTES_MAX } from "./body.ts";
export { readChatRequest, writeChatRequest } from "./chat_request.ts";
export { type ErrorBody, HttpError, toHttpError } from "./errors.ts";
export type { BridgeRecord } from "./exchange.ts";
export { mergeSads, SAD_HEADER, selectModel } from "./selector.ts";
export { type BridgeServer, serveBridge } from "./server.ts";
