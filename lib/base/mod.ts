/** What every layer may use: bytes, errors, time and randomness as arguments. */
export * from "./address.ts";
export * from "./bytes.ts";
export * from "./env.ts";
export * from "./errors.ts";
