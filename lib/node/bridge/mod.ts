/** The OpenAI-compatible HTTP API of a node. */
export { BODY_BYTES_MAX } from "./body.ts";
export { readChatRequest, writeChatRequest } from "./chat_request.ts";
export { type ErrorBody, HttpError, toHttpError } from "./errors.ts";
export { mergeSads, SAD_HEADER, selectModel } from "./selector.ts";
export {
  type BridgeOptions,
  type BridgeRecord,
  type BridgeServer,
  createBridge,
  serveBridge,
} from "./server.ts";
