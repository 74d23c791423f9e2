/** Sessions to nodes, dialled when first needed and shared by all who ask. */
import {
  formatNodeId,
  NexusError,
  parseNodeId,
  parseSocketAddress,
  type SocketAddress,
  toHex,
} from "../base/mod.ts";
import { CloseReason } from "../l3_stream/mod.ts";
import { checkRequirements, type MicRequirements } from "../l4_trust/mod.ts";
import type { Driver } from "./driver.ts";
import type { Session } from "./session.ts";

/** Of several addresses of a node, the next is tried in parallel after this long (RFC 8305 §5). */
const NEXT_ADDRESS_MS = 250;
/** How often a session that another one replaced is looked at: it closes when nothing runs on it. */
const REPLACED_CHECK_MS = 500;

export class SessionPool {
  readonly #driver: Driver;
  /** The session that new work goes to. */
  readonly #open = new Map<string, Session>();
  /** All that are open, in the order in which they came. */
  readonly #all = new Map<string, Set<Session>>();
  readonly #dialling = new Map<string, Promise<Session>>();
  /** Called once for each session that joins the pool, dialled or accepted. */
  onSession?: (session: Session) => void;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** Open sessions to nodes, by node id. */
  get sessions(): ReadonlyMap<string, Session> {
    return this.#open;
  }

  /**
   * Takes a session in, whoever opened it, and returns the one that new work goes to now. That is
   * the newer one, while an older one stays usable for what runs on it. When both ends opened one
   * at the same time it is, for both of them, the one whose HELLO came from the smaller node id
   * (03-stream.md); the end that opened the other one closes it when nothing runs on it.
   */
  add(session: Session): Session {
    const nodeId = session.peerNodeId;
    const old = this.#open.get(nodeId);
    let kept = session;
    if (old?.isOpen && areSimultaneous(old, session)) {
      const isOursSmaller = formatNodeId(this.#driver.endpoint.nodeId) < nodeId;
      const lost = old.initiator === isOursSmaller ? session : old;
      if (lost === session) kept = old;
      if (lost.initiator) closeWhenIdle(lost);
    }
    let all = this.#all.get(nodeId);
    if (all === undefined) this.#all.set(nodeId, all = new Set());
    all.add(session);
    this.#open.set(nodeId, kept);
    session.closed.then(() => this.#forget(nodeId, session));
    this.onSession?.(session);
    return kept;
  }

  #forget(nodeId: string, session: Session): void {
    const all = this.#all.get(nodeId);
    all?.delete(session);
    if (all?.size === 0) this.#all.delete(nodeId);
    if (this.#open.get(nodeId) !== session) return;
    const next = [...all ?? []].at(-1);
    if (next === undefined) this.#open.delete(nodeId);
    else this.#open.set(nodeId, next);
  }

  /**
   * A session to a node whose certificate vouches for the requirements; dials its addresses when
   * there is none. An open session whose certificate says too little is not used: the node may
   * have a newer one by now, which a new handshake shows.
   * @throws NexusError what the last address said, CONSTRAINT_NOT_MET, CANCELLED by the signal
   */
  async get(
    nodeId: string,
    endpoints: readonly string[],
    requirements: MicRequirements,
    signal?: AbortSignal,
  ): Promise<{ session: Session; reused: boolean }> {
    const open = this.#open.get(nodeId);
    if (open?.isOpen && vouches(open, requirements)) return { session: open, reused: true };
    // Only those who ask the same of the certificate share a dial: it fails for what was asked.
    const key = dialKey(nodeId, requirements);
    let dialling = this.#dialling.get(key);
    if (dialling === undefined) {
      dialling = this.#dial(nodeId, endpoints.map((text) => parseSocketAddress(text)), requirements)
        .finally(() => this.#dialling.delete(key));
      this.#dialling.set(key, dialling);
    }
    const session = await (signal === undefined ? dialling : orAborted(dialling, signal));
    return { session, reused: false };
  }

  /** Dials an address whose node is not known yet (a seed). */
  async dialAddress(address: SocketAddress, nodeId?: Uint8Array): Promise<Session> {
    return this.add(await this.#driver.dial(address, { nodeId }));
  }

  async #dial(
    nodeId: string,
    addresses: SocketAddress[],
    requirements: MicRequirements,
  ): Promise<Session> {
    if (addresses.length === 0) {
      throw new NexusError("UNREACHABLE", `cannot connect to ${nodeId}: it advertises no address`);
    }
    const id = parseNodeId(nodeId);
    const rest = new AbortController();
    const timers: ReturnType<typeof setTimeout>[] = [];
    const attempts = addresses.map(async (address, i) => {
      if (i > 0) {
        await new Promise<void>((resolve) => {
          timers.push(setTimeout(resolve, i * NEXT_ADDRESS_MS));
          rest.signal.addEventListener("abort", () => resolve(), { once: true });
        });
      }
      return await this.#driver.dial(address, { nodeId: id, requirements, signal: rest.signal });
    });
    try {
      const session = await Promise.any(attempts);
      const kept = this.add(session);
      return vouches(kept, requirements) ? kept : session;
    } catch (error) {
      throw error instanceof AggregateError ? error.errors.at(-1) : error;
    } finally {
      rest.abort();
      timers.forEach(clearTimeout);
    }
  }
}

/** Whether each end sent its HELLO before it knew of the other's session. */
function areSimultaneous(a: Session, b: Session): boolean {
  if (a.initiator === b.initiator) return false;
  const [first, second] = a.openedUs <= b.openedUs ? [a, b] : [b, a];
  // The peer saw both up to a one-way delay earlier or later, which is less than a handshake.
  return second.openedUs - second.handshake.durationUs <
    first.openedUs + first.handshake.durationUs;
}

/** Ends a session that new work does not go to any more, once its requests are answered. */
function closeWhenIdle(session: Session): void {
  const timer = setInterval(() => {
    if (!session.isAnswering) session.close(CloseReason.REPLACED, "the peer's own session is used");
  }, REPLACED_CHECK_MS);
  session.closed.then(() => clearInterval(timer));
}

function dialKey(nodeId: string, { publisher, ...rest }: MicRequirements): string {
  return `${nodeId} ${publisher === undefined ? "" : toHex(publisher)} ${JSON.stringify(rest)}`;
}

function vouches(session: Session, requirements: MicRequirements): boolean {
  try {
    checkRequirements(session.handshake.peerMic, requirements);
    return true;
  } catch {
    return false;
  }
}

/** The promise, or CANCELLED as soon as the signal fires; the work behind it goes on. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new NexusError("CANCELLED", "cannot connect: the caller gave up"));
    // First of all, so that a failure is never nobody's.
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
}
