/** A certificate authority and drivers for benchmarks, without a node around them. */
import type { SocketAddress } from "../lib/base/mod.ts";
import { randomFill, systemClock } from "../lib/io/clock.ts";
import { nodeEngine } from "../lib/io/crypto.ts";
import { openUdpPort } from "../lib/io/udp_port.ts";
import { CertificateAuthority, createCsr, Identity } from "../lib/l4_trust/mod.ts";
import { Driver, type Session } from "../lib/sdk/mod.ts";

const VNI = 7;

/** A CA whose key both processes of a benchmark derive from the same seed. */
export function benchAuthority(): CertificateAuthority {
  const seed = Identity.fromSeed(new Uint8Array(32).fill(42), nodeEngine);
  const unixS = Math.floor(systemClock.unixMs() / 1000);
  return CertificateAuthority.root(seed, nodeEngine, { unixS, vni: VNI });
}

/** A driver on a free loopback port, with a certificate of that CA. */
export async function benchDriver(
  authority: CertificateAuthority,
  onSession?: (session: Session) => void,
): Promise<{ driver: Driver; address: SocketAddress }> {
  const identity = Identity.generate(randomFill, nodeEngine);
  const mic = authority.issue(createCsr(identity, {}, {}), {
    unixS: Math.floor(systemClock.unixMs() / 1000),
    vni: VNI,
    role: "node",
  });
  const port = await openUdpPort({ listen: { host: "127.0.0.1", port: 0 }, vni: VNI });
  const driver = new Driver({
    port,
    clock: systemClock,
    random: randomFill,
    engine: nodeEngine,
    identity,
    vni: VNI,
    chain: authority.chainOf(mic),
    roots: [authority.fingerprint],
    onSession,
  });
  return { driver, address: port.localAddress };
}
