/** Sessions to nodes, dialled when first needed and shared by all who ask. */
import {
  NexusError,
  parseNodeId,
  parseSocketAddress,
  type SocketAddress,
  toHex,
} from "../base/mod.ts";
import { checkRequirements, type MicRequirements } from "../l4_trust/mod.ts";
import type { Driver } from "./driver.ts";
import type { Session } from "./session.ts";

/** Of several addresses of a node, the next is tried in parallel after this long (RFC 8305 §5). */
const NEXT_ADDRESS_MS = 250;

export class SessionPool {
  readonly #driver: Driver;
  readonly #open = new Map<string, Session>();
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
   * Takes a session in, whoever opened it. An older one to the same node stays usable for what
   * runs on it; new work goes to the newer one (03-stream.md: the old one lives until then).
   */
  add(session: Session): void {
    const nodeId = session.peerNodeId;
    this.#open.set(nodeId, session);
    session.closed.then(() => {
      if (this.#open.get(nodeId) === session) this.#open.delete(nodeId);
    });
    this.onSession?.(session);
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
    const session = await this.#driver.dial(address, { nodeId });
    this.add(session);
    return session;
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
      this.add(session);
      return session;
    } catch (error) {
      throw error instanceof AggregateError ? error.errors.at(-1) : error;
    } finally {
      rest.abort();
      timers.forEach(clearTimeout);
    }
  }
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
