/** A certificate authority and drivers for benchmarks, without a node around them. */
import type { SocketAddress } from "../lib/base/mod.ts";
import { randomFill, systemClock } from "../lib/io/clock.ts";
import { nodeEngine } from "../lib/io/crypto.ts";
import { openBestPort, type PortKind } from "../lib/io/open_port.ts";
import { chooseEngine } from "../lib/io/native_records.ts";
import type { StreamConfig } from "../lib/l3_stream/mod.ts";
import { CertificateAuthority, createCsr, Identity } from "../lib/l4_trust/mod.ts";
import { Driver, type Session } from "../lib/sdk/mod.ts";

const VNI = 7;

export interface BenchDriverOptions {
  /** Default: loopback. */
  readonly host?: string;
  /** Default: the portable port. */
  readonly kind?: PortKind;
  readonly onSession?: (session: Session) => void;
  readonly stream?: Partial<StreamConfig>;
}

/** A CA whose key both processes of a benchmark derive from the same seed. */
export function benchAuthority(): CertificateAuthority {
  const seed = Identity.fromSeed(new Uint8Array(32).fill(42), nodeEngine);
  const unixS = Math.floor(systemClock.unixMs() / 1000);
  return CertificateAuthority.root(seed, nodeEngine, { unixS, vni: VNI });
}

/** A driver on a free UDP port, with a certificate of that CA. */
export async function benchDriver(
  authority: CertificateAuthority,
  { host = "127.0.0.1", kind = "udp", onSession, stream }: BenchDriverOptions = {},
): Promise<{ driver: Driver; address: SocketAddress }> {
  const identity = Identity.generate(randomFill, nodeEngine);
  const mic = authority.issue(createCsr(identity, {}, {}), {
    unixS: Math.floor(systemClock.unixMs() / 1000),
    vni: VNI,
    role: "node",
  });
  const { port } = await openBestPort({ kind, listen: { host, port: 0 }, vni: VNI });
  // The portable way does without FFI altogether.
  const { engine, blocks } = chooseEngine(kind === "udp" ? "portable" : "auto");
  const driver = new Driver({
    port,
    clock: systemClock,
    random: randomFill,
    engine,
    blocks,
    identity,
    vni: VNI,
    chain: authority.chainOf(mic),
    roots: [authority.fingerprint],
    onSession,
    stream,
  });
  return { driver, address: port.localAddress };
}
