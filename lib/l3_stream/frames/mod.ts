/** The frames of a packet payload: one file for each kind with parse, append and length. */
export * from "./ack.ts";
export * from "./close.ts";
export * from "./congestion.ts";
export * from "./data.ts";
export * from "./fec.ts";
export * from "./frame.ts";
export * from "./message.ts";
export * from "./nack.ts";
export * from "./parameters.ts";
export * from "./parse.ts";
export * from "./path.ts";
export * from "./probe.ts";
export * from "./record.ts";
export * from "./report.ts";
export * from "./stream.ts";
export * from "./symbol.ts";
