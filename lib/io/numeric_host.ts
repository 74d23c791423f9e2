/** Host names of socket addresses in the one form that the peer table and the resolver use. */
import { lookup } from "node:dns/promises";
import { errorMessage, NexusError, type SocketAddress } from "../base/mod.ts";

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;
/** ::ffff:0:0/96 as the URL parser writes it (RFC 4291 §2.5.5.2). */
const IPV4_MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/**
 * The numeric address in canonical text (RFC 5952), an IPv4-mapped IPv6 address as IPv4;
 * undefined when `host` is a name. A zone ("%eth0") is kept.
 */
export function numericHost(host: string): string | undefined {
  if (IPV4.test(host)) return host;
  const [address, zone] = host.split("%", 2);
  if (!address.includes(":")) return undefined;
  const url = `http://[${address}]/`;
  if (!URL.canParse(url)) return undefined;
  const text = new URL(url).hostname.slice(1, -1);
  const mapped = IPV4_MAPPED.exec(text);
  if (mapped !== null) {
    const [high, low] = [parseInt(mapped[1], 16), parseInt(mapped[2], 16)];
    return `${high >>> 8}.${high & 0xff}.${low >>> 8}.${low & 0xff}`;
  }
  return zone === undefined ? text : `${text}%${zone}`;
}

/**
 * The address with its host as a number, looked up in the system's resolver (hosts file and DNS)
 * where it is a name; IPv4 first, as most meshes are. UNKNOWN_HOST when there is none.
 */
export async function resolveSocketAddress(address: SocketAddress): Promise<SocketAddress> {
  const numeric = numericHost(address.host);
  if (numeric !== undefined) return { host: numeric, port: address.port };
  try {
    const found = await lookup(address.host, { all: true, verbatim: true });
    const best = found.find(({ family }) => family === 4) ?? found[0];
    return { host: numericHost(best.address) ?? best.address, port: address.port };
  } catch (cause) {
    throw new NexusError(
      "UNKNOWN_HOST",
      `cannot resolve ${address.host}: ${errorMessage(cause)}`,
      { cause },
    );
  }
}
