/** Addresses under which other machines may reach a socket of ours. */

/**
 * Hosts to tell others for a socket bound to `host`: the host itself, or, for a wildcard, the
 * addresses of this machine's interfaces, loopback only when there is nothing else.
 */
export function localAddresses(host: string): string[] {
  const isAny4 = host === "0.0.0.0";
  const isAny6 = host === "::";
  if (!isAny4 && !isAny6) return [host];
  const all = Deno.networkInterfaces()
    .filter(({ family, address }) =>
      (family === "IPv4" || isAny6) && !address.toLowerCase().startsWith("fe80:")
    )
    .map(({ address }) => address);
  const outside = all.filter((address) => !address.startsWith("127.") && address !== "::1");
  return outside.length > 0 ? outside : ["127.0.0.1"];
}
