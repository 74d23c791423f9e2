import config from "../../deno.json" with { type: "json" };

/** Version of this program, as deno.json says. */
export const VERSION: string = config.version;
/** Version of the wire protocol (docs/protocol.md). */
export const PROTOCOL_VERSION = 1;
