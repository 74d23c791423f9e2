/** Why a server of the node cannot listen. */
import {
  errorMessage,
  formatSocketAddress,
  NexusError,
  type SocketAddress,
} from "../../base/mod.ts";

/**
 * ADDRESS_IN_USE, ADDRESS_NOT_AVAILABLE or LISTEN_FAILED: `server` is told ("the bridge"), and the
 * config key that holds the address is the hint.
 */
export function listenError(
  server: string,
  key: string,
  listen: SocketAddress,
  thrown: unknown,
): NexusError {
  const [code, why] = thrown instanceof Deno.errors.AddrInUse
    ? ["ADDRESS_IN_USE", "another program has it"]
    : thrown instanceof Deno.errors.AddrNotAvailable
    ? ["ADDRESS_NOT_AVAILABLE", "this machine has no such address"]
    : /failed to lookup address|invalid host/.test(errorMessage(thrown))
    ? ["LISTEN_FAILED", `"${listen.host}" is no address, and no name that this machine knows`]
    : ["LISTEN_FAILED", errorMessage(thrown).split("\n")[0]];
  const where = formatSocketAddress(listen);
  return new NexusError(code, `cannot listen on ${where} for ${server}: ${why}`, {
    cause: thrown,
    hint: `set ${key}`,
  });
}
