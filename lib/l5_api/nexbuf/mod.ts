/** NexBuf, the zero-copy record format of message bodies (docs/protocol.md §8.2). */
export { openBody, Reader, ROOT } from "./reader.ts";
export * from "./shape.ts";
export { DEPTH_MAX, OBJECTS_MAX, verify, VerifyError, verifyError } from "./verify.ts";
export { Writer } from "./writer.ts";
