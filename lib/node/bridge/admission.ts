/** Who may ask at all: a key where the node has keys, else a Host header that cannot be rebound. */
import { clip, equalConstantTime, utf8 } from "../../base/mod.ts";
import { HttpError } from "./errors.ts";

/** See the head of the file. */
export class Admission {
  readonly #keys: readonly Uint8Array[];
  readonly #hosts: readonly string[];

  /** `hosts` are served beside addresses and loopback names, when there are no keys. */
  constructor(keys: readonly string[], hosts: readonly string[]) {
    this.#keys = keys.map(utf8);
    this.#hosts = hosts;
  }

  /** Throws 401 or 403. */
  check(request: Request): void {
    if (this.#keys.length === 0) return this.#checkHost(request);
    const [, token] = /^Bearer +(\S+) *$/i.exec(request.headers.get("authorization") ?? "") ?? [];
    if (token === undefined) {
      throw unauthorized("no API key was sent, expected: Authorization: Bearer <key>", null);
    }
    const sent = utf8(token);
    // All keys are compared, so that time does not tell which one came close.
    if (!this.#keys.map((key) => equalConstantTime(key, sent)).includes(true)) {
      throw unauthorized("the API key is not one of this node's", "invalid_api_key");
    }
  }

  /** Without keys, a web page whose name was rebound to our address must not get in. */
  #checkHost(request: Request): void {
    const host = request.headers.get("host") ?? new URL(request.url).host;
    const name = host.replace(/:\d+$/, "").toLowerCase();
    const loopback = name === "localhost" || name === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(name);
    const hosts = this.#hosts;
    if (!loopback && !isAddress(name) && !hosts.includes(name) && !hosts.includes(host)) {
      throw new HttpError(
        403,
        "host_not_allowed",
        `cannot serve host "${
          clip(host)
        }": it is not an address, and not one of the bridge's hosts`,
      );
    }
  }
}

function unauthorized(why: string, code: string | null): HttpError {
  return new HttpError(401, code ?? "missing_api_key", `cannot serve: ${why}`, {
    headers: { "www-authenticate": "Bearer" },
  });
}

/** An IP address cannot be rebound to another one. */
function isAddress(name: string): boolean {
  return /^\d{1,3}(?:\.\d{1,3}){3}$/.test(name) || /^\[[0-9a-f:.]+\]$/.test(name);
}
