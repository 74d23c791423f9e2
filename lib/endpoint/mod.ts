/** The five layers joined, sans-I/O. */
export { Counters, type EndpointCounters } from "./counters.ts";
export * from "./deadlines.ts";
export * from "./endpoint.ts";
export { HALF_OPEN_MAX, HALF_OPEN_PER_SOURCE_MAX } from "./entry_table.ts";
export * from "./events.ts";
export * from "./options.ts";
