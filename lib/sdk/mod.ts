/** Client and server objects for programs. Start with {@link NexusClient}. */
export { Channel, STREAM_ERROR } from "./channel.ts";
export * from "./client.ts";
export * from "./driver.ts";
export * from "./inference_client.ts";
export * from "./inference_error.ts";
export * from "./inference_router.ts";
export * from "./inference_server.ts";
export * from "./join.ts";
export * from "./join_signals.ts";
export * from "./mesh.ts";
export { isUnreachable } from "./reachability.ts";
export * from "./serve.ts";
export * from "./session.ts";
export * from "./session_pool.ts";
export * from "./worker_group.ts";
export { type MemberCounters, type MemberOptions, serveInGroup } from "./worker_member.ts";
