/** Which UDP port a process gets: the native one where it can run, the portable one elsewhere. */
import { formatSocketAddress, NexusError, type SocketAddress } from "../base/mod.ts";
import type { Pool, Port } from "../l1_link/mod.ts";
import { resolveSocketAddress } from "./numeric_host.ts";
import { openUdpNativePort, udpNativeUnavailable } from "./udp_native_port.ts";
import { openUdpPort } from "./udp_port.ts";

/** Kinds of port that can be asked for; "auto" is the best that runs. */
export const PORT_KINDS = ["auto", "udp", "udp-native"] as const;
/** One of PORT_KINDS. */
export type PortKind = typeof PORT_KINDS[number];

/** How to open the best port. */
export interface BestPortOptions {
  readonly kind: PortKind;
  /** Port 0 lets the system choose; a host name is looked up. */
  readonly listen: SocketAddress;
  /** The tenant network. */
  readonly vni: number;
  readonly pool?: Pool;
  /** Scripted loss; only the portable port has it. */
  readonly faults?: { readonly lossRate: number; readonly seed: number };
  readonly rxFramesMax?: number;
  /**
   * Longest that the native port looks for frames before it sleeps, µs. Looking holds the event
   * loop: 0 for a program whose loop has other work, such as HTTP.
   */
  readonly spinUsMax?: number;
  /** Have the kernel say when each message came (NL-F-009); only the native port can. */
  readonly timestamps?: boolean;
}

/** A port and why it is this one, for the log. */
export interface BestPort {
  readonly port: Port;
  readonly kind: Exclude<PortKind, "auto">;
  readonly reason: string;
}

/**
 * Opens a port of the kind asked for, or with "auto" the best one. Errors: those of both ports,
 * NATIVE_UNAVAILABLE when the native one was asked for by name, UNKNOWN_PORT, LISTEN_FAILED for a
 * host name that this machine does not know.
 */
export async function openBestPort(asked: BestPortOptions): Promise<BestPort> {
  const { kind, faults } = asked;
  if (!PORT_KINDS.includes(kind)) {
    throw new NexusError(
      "UNKNOWN_PORT",
      `cannot open port: kind is "${kind}", expected one of ${PORT_KINDS.join(", ")}`,
    );
  }
  const options = { ...asked, listen: await numericListen(asked.listen) };
  if (kind === "udp") return await portable(options, "asked for");
  if (kind === "udp-native") {
    if (faults !== undefined) {
      throw new NexusError(
        "NATIVE_UNAVAILABLE",
        "cannot open native port: scripted faults were asked for, which only the portable port has",
        { hint: "use the portable port (--port udp)" },
      );
    }
    const port = await openUdpNativePort({ ...options, trains: true });
    return { port, kind: "udp-native", reason: "asked for" };
  }
  if (faults !== undefined) {
    return await portable(options, "only it has the scripted faults that were asked for");
  }
  const unavailable = udpNativeUnavailable();
  if (unavailable !== undefined) return await portable(options, unavailable);
  return {
    port: await openUdpNativePort({ ...options, trains: true }),
    kind: "udp-native",
    reason: "the native library is there: trains by segmentation offload, ECN",
  };
}

async function numericListen(listen: SocketAddress): Promise<SocketAddress> {
  try {
    return await resolveSocketAddress(listen);
  } catch (cause) {
    throw new NexusError(
      "LISTEN_FAILED",
      `cannot listen: udp ${formatSocketAddress(listen)}: "${listen.host}" is no address, and no ` +
        "name that this machine knows",
      { cause, hint: 'expected host:port, such as "0.0.0.0:6477"' },
    );
  }
}

async function portable(options: BestPortOptions, reason: string): Promise<BestPort> {
  return { port: await openUdpPort(options), kind: "udp", reason };
}
