/** The bridge on a TCP port. */
import { listenError } from "../http/listen_error.ts";
import { type BridgeOptions, createBridge } from "./app.ts";

/** A bridge that listens. */
export interface BridgeServer {
  readonly address: { readonly host: string; readonly port: number };
  /** Takes no new requests, waits for those that run, cuts them when the signal aborts. */
  close(signal?: AbortSignal): Promise<void>;
}

/**
 * Listens; port 0 takes a free one. Throws ADDRESS_IN_USE, ADDRESS_NOT_AVAILABLE or LISTEN_FAILED.
 */
export function serveBridge(
  options: BridgeOptions & { readonly host?: string; readonly port?: number },
): BridgeServer {
  const cut = new AbortController();
  const { host = "127.0.0.1", port = 6479 } = options;
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve(
      { hostname: host, port, signal: cut.signal, onListen() {} },
      createBridge(options),
    );
  } catch (thrown) {
    throw listenError("the bridge", "bridge.listen", { host, port }, thrown);
  }
  return {
    address: { host: server.addr.hostname, port: server.addr.port },
    async close(signal) {
      const abort = () => cut.abort();
      if (signal?.aborted) abort();
      signal?.addEventListener("abort", abort, { once: true });
      await server.shutdown();
      signal?.removeEventListener("abort", abort);
    },
  };
}
