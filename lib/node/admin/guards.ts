/** What stands before the handlers: Host check, token, bounded bodies. */
import type { MiddlewareHandler } from "hono";
import { clip, equalConstantTime, fromUtf8, NexusError, utf8 } from "../../base/mod.ts";
import { type BodyErrors, readBytes, saysJson } from "../http/body.ts";

/** What the listener knows of a request beside the request. */
export interface Bindings {
  /** Address of the caller, without port. */
  readonly remoteHost: string;
  /** Fires when the caller goes away or the server closes. */
  readonly signal: AbortSignal;
  /** Fires when the server closes. */
  readonly closing: AbortSignal;
}

/** Environment type of the Hono app. */
export type AdminEnv = { Bindings: Bindings };

/** Host names that only ever mean this machine. */
const LOOPBACK_NAMES: readonly string[] = ["localhost", "ip6-localhost", "ip6-loopback"];

/** Whether an address (as the system writes it) is this machine's loopback. */
export function isLoopbackAddress(host: string): boolean {
  return /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/.test(host) || host === "::1";
}

/**
 * The set of hosts that may stand in a Host header. A page of a foreign name whose DNS points at
 * 127.0.0.1 sends its own name there (DNS rebinding), so unknown names are refused. Addresses
 * cannot be rebound: the listening one is good, and each when the listener takes all.
 */
export function hostAllowed(host: string, listenHost: string, more: readonly string[]): boolean {
  const match = /^(?:\[([0-9a-f:.%]+)\]|([^:[\]/@\s]+))(?::\d{1,5})?$/i.exec(host);
  if (match === null) return false;
  const name = (match[1] ?? match[2]).toLowerCase().replace(/\.$/, "");
  if (LOOPBACK_NAMES.includes(name) || isLoopbackAddress(name)) return true;
  if (name === listenHost.toLowerCase()) return true;
  if (more.some((each) => each.toLowerCase() === name)) return true;
  const anyAddress = listenHost === "0.0.0.0" || listenHost === "::";
  return anyAddress && (match[1] !== undefined || /^\d{1,3}(\.\d{1,3}){3}$/.test(name));
}

/** Refuses requests whose Host is not one of ours. */
export function hostGuard(listenHost: string, more: readonly string[]): MiddlewareHandler {
  return async (c, next) => {
    const host = c.req.header("host");
    if (host === undefined || host === "") {
      throw new NexusError("HOST_MISSING", "cannot answer: the request has no Host header");
    }
    if (!hostAllowed(host, listenHost, more)) {
      throw new NexusError(
        "HOST_REFUSED",
        `cannot answer: host "${clip(host)}" is not one of this API`,
        { hint: "use 127.0.0.1 or add the name to admin.hosts" },
      );
    }
    await next();
  };
}

/** Whether the request carries the token. The comparison's time says nothing of the token. */
export function hasToken(authorization: string | undefined, token: string): boolean {
  const match = /^Bearer +([\x21-\x7e]{1,256}) *$/i.exec(authorization ?? "");
  return match !== null && equalConstantTime(utf8(match[1]), utf8(token));
}

/** Refuses requests without the token, except where `exempt` says so. */
export function tokenGuard(
  token: string,
  exempt: (bindings: Bindings) => boolean = () => false,
): MiddlewareHandler<AdminEnv> {
  return async (c, next) => {
    if (!hasToken(c.req.header("authorization"), token) && !exempt(c.env)) {
      throw new NexusError(
        "UNAUTHORIZED",
        "cannot answer: the request has no valid bearer token",
        { hint: "send authorization: Bearer with the text of admin.token in the state directory" },
      );
    }
    await next();
  };
}

/** Reads the body with a limit that holds while it arrives; no body counts as `{}`. */
export function bodyGuard(bytesMax: number): MiddlewareHandler<AdminEnv> {
  return async (c, next) => {
    const request = c.req.raw;
    const bytes = await readBytes(request, bytesMax, BODY_ERRORS);
    if (bytes.length > 0 && !saysJson(request)) {
      const type = request.headers.get("content-type") ?? "";
      throw new NexusError(
        "UNSUPPORTED_MEDIA_TYPE",
        `cannot read request: content-type is "${clip(type)}", expected application/json`,
      );
    }
    const text = bytes.length === 0 ? "{}" : fromUtf8(bytes);
    c.req.raw = new Request(request.url, {
      method: request.method,
      headers: { "content-type": "application/json" },
      body: text,
    });
    await next();
  };
}

const BODY_ERRORS: BodyErrors = {
  tooLarge: (bytesMax) =>
    new NexusError(
      "TOO_LARGE",
      `cannot read request: the body has more than ${bytesMax} bytes`,
      { hint: "limits.request_bytes_max sets the limit of prompts" },
    ),
  brokenOff: (cause) =>
    new NexusError("MALFORMED", "cannot read request: the body breaks off", { cause }),
};
