/** Joining a mesh with an invite token (08-node.md, Mesh; docs/protocol.md §8.1, Join). */
import { NexusError, parseSocketAddress, toHex } from "../base/mod.ts";
import { apiErrorName, decodeMessage, encodeMessage } from "../l5_api/mod.ts";
import {
  createCsr,
  type CryptoEngine,
  type Identity,
  type Invite,
  type MicClaims,
  type NodeRole,
  selfSignedMic,
  verifyChain,
} from "../l4_trust/mod.ts";
import { MODE_RELIABLE_ORDERED } from "../l3_stream/mod.ts";
import type { Driver } from "./driver.ts";
import { isUnreachable } from "./reachability.ts";
import type { Session } from "./session.ts";

/** The self-signed certificate that a newcomer shows lives this long; only the invite gives it weight. */
const NEWCOMER_LIFE_S = 3_600;
/** How long an authority may take to answer a request. */
const CERTIFICATE_TIMEOUT_MS = 10_000;

/** What a newcomer presents before it has a certificate of the mesh. */
export function newcomerChain(
  identity: Identity,
  vni: number,
  unixS: number,
  engine: CryptoEngine,
): Uint8Array[] {
  return [
    selfSignedMic(identity, { unixS, lifeS: NEWCOMER_LIFE_S, extensions: { tenant: vni } }, engine),
  ];
}

export interface JoinOptions {
  driver: Driver;
  identity: Identity;
  invite: Invite;
  engine: CryptoEngine;
  claims: MicClaims;
  role: NodeRole;
  /** What people call this node. */
  name: string;
  /** Called before each seed is asked: one that is not there costs seconds. */
  onTry?: (address: string) => void;
}

/**
 * Asks the seeds of the invite, in turn, for a certificate.
 * @returns the issued chain, leaf first, verified against the invite's root
 * @throws NexusError the last refusal, or where nobody answered the last silence; its message names
 *   the addresses tried
 */
export async function join(options: JoinOptions): Promise<Uint8Array[]> {
  const { seeds } = options.invite;
  let worst: NexusError | undefined;
  for (const { nodeId, address } of seeds) {
    options.onTry?.(address);
    try {
      return await joinThrough(options, nodeId, address);
    } catch (error) {
      if (!(error instanceof NexusError)) throw error;
      // A refusal says more than that another seed was not there.
      if (worst === undefined || !isAbsent(error) || isAbsent(worst)) worst = error;
    }
  }
  throw joinError(worst!, seeds.map(({ address }) => address));
}

/** Nobody answered there, as against an answer that says no. */
function isAbsent(error: NexusError): boolean {
  return isUnreachable(error) || error.code === "UNKNOWN_HOST";
}

function joinError(cause: NexusError, addresses: readonly string[]): NexusError {
  const why = cause.message.replace(/^cannot [^:]*: /, "");
  return new NexusError(cause.code, `cannot join the mesh via ${addresses.join(", ")}: ${why}`, {
    cause,
    hint: cause.hint ??
      (isAbsent(cause)
        ? "is the node there up, and does UDP reach it? otherwise ask for an invite with its address"
        : INVITE_CODES.has(cause.code)
        ? "get a new token with `nexus invite` on the node that made the mesh"
        : undefined),
  });
}

/** Refusals that another token may mend: this one is unknown, used up, or for another mesh. */
const INVITE_CODES: ReadonlySet<string> = new Set([
  "INVITE_REFUSED",
  "ALERT_INVITE_REFUSED",
  "JOIN_REFUSED",
  "UNKNOWN_CA",
  "ALERT_UNKNOWN_CA",
  "NODE_ID_MISMATCH",
]);

async function joinThrough(
  { driver, identity, invite, engine, claims, role, name }: JoinOptions,
  nodeId: Uint8Array,
  address: string,
): Promise<Uint8Array[]> {
  const session = await driver.dial(parseSocketAddress(address), {
    nodeId,
    invite: { id: invite.id, secret: invite.secret },
  });
  try {
    const chain = await requestCertificate(
      session,
      createCsr(identity, claims, { role }),
      name,
    );
    const mic = verifyChain(chain, {
      roots: [invite.caFingerprint],
      unixS: Math.floor(driver.clock.unixMs() / 1000),
      vni: invite.vni,
      engine,
    });
    if (toHex(mic.nodeId) !== toHex(identity.nodeId)) {
      throw new NexusError("JOIN_REFUSED", "cannot join: the certificate is for another key");
    }
    return chain;
  } finally {
    session.close();
  }
}

/**
 * Sends a request to the authority on the other end of a session: a newcomer's first, or a member's
 * renewal.
 * @returns the issued chain, not verified
 * @throws NexusError JOIN_REFUSED with what the authority said, or what ended the session
 */
export async function requestCertificate(
  session: Session,
  csr: Uint8Array,
  name: string,
): Promise<Uint8Array[]> {
  const channel = session.open(MODE_RELIABLE_ORDERED);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    channel.cancel();
  }, CERTIFICATE_TIMEOUT_MS);
  let message: Uint8Array | undefined;
  try {
    await channel.send(encodeMessage("csrSubmit", 1, { csr, name }));
    message = await channel.receive();
  } catch (error) {
    if (late) throw refused(`no answer within ${CERTIFICATE_TIMEOUT_MS / 1000} s`);
    throw error;
  } finally {
    clearTimeout(timer);
  }
  channel.finish();
  if (message === undefined) throw refused("the node closed without an answer");
  const decoded = decodeMessage(message);
  if (decoded.kind === "error") {
    throw refused(`${decoded.body.text} (${apiErrorName(decoded.body.code)})`);
  }
  if (decoded.kind !== "csrResult") throw refused(`the node answered with ${decoded.kind}`);
  return decoded.body.chain;
}

function refused(why: string): NexusError {
  return new NexusError("JOIN_REFUSED", `cannot get certificate: ${why}`);
}
