/** The five layers joined, sans-I/O. */
export * from "./counters.ts";
export * from "./deadlines.ts";
export * from "./endpoint.ts";
