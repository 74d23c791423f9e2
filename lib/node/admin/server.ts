/** The admin API on a TCP port. */
import type { SocketAddress } from "../../base/mod.ts";
import { listenError } from "../http/listen_error.ts";
import { type AdminAppOptions, createAdminApp } from "./app.ts";
import { errorResponse } from "./errors.ts";

/** How to start the server. */
export interface AdminServerOptions extends Omit<AdminAppOptions, "listenHost"> {
  readonly listen: SocketAddress;
}

/** How long `close` waits for answers that are under way. */
const CLOSE_MS = 2_000;

/** A running admin server. */
export class AdminServer {
  /** Where it listens, with the real port when 0 was asked for. */
  readonly address: SocketAddress;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #closing: AbortController;
  readonly #cut: AbortController;

  /** Starts listening. Throws ADDRESS_IN_USE, ADDRESS_NOT_AVAILABLE or LISTEN_FAILED. */
  static start(options: AdminServerOptions): AdminServer {
    return new AdminServer(options);
  }

  private constructor({ listen, ...options }: AdminServerOptions) {
    this.#closing = new AbortController();
    this.#cut = new AbortController();
    const app = createAdminApp({ ...options, listenHost: listen.host });
    try {
      this.#server = Deno.serve(
        {
          hostname: listen.host,
          port: listen.port,
          signal: this.#cut.signal,
          onListen() {}, // the node says where it listens
          onError: (thrown) => {
            options.onFault(thrown);
            return errorResponse(thrown);
          },
        },
        (request, { remoteAddr }) =>
          app.fetch(request, {
            remoteHost: remoteAddr.hostname,
            signal: request.signal,
            closing: this.#closing.signal,
          }),
      );
    } catch (thrown) {
      throw listenError("the admin API", "admin.listen", listen, thrown);
    }
    const { hostname, port } = this.#server.addr;
    this.address = { host: hostname, port };
  }

  /** Takes no new requests, stops streams, waits shortly for the rest. May be called twice. */
  async close(): Promise<void> {
    this.#closing.abort();
    const timer = setTimeout(() => this.#cut.abort(), CLOSE_MS);
    try {
      await this.#server.shutdown();
      await this.#server.finished;
    } finally {
      clearTimeout(timer);
    }
  }
}
