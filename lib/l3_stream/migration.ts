/**
 * How the frames of a path come to go to another network address (docs/protocol.md §5.7): the peer
 * moved, this end wants it, or the first path fails over to the address of another (§5.8); an
 * address is validated by a challenge before.
 */
import type { ConnectionCore } from "./core.ts";
import type { Frame } from "./frames/mod.ts";
import { type Path, PEER_UNKNOWN } from "./path.ts";
import { PathValidation } from "./path_validation.ts";

/**
 * Ours: probe timeouts of the first path in a row without an acknowledgement until it fails over.
 * At 30 % loss one transfer of a megabyte in fifty sees four, hardly one sees five.
 */
export const FAILOVER_PTOS = 5;
/** Ours: how long a client that moved by its own choice stays there at least, in probe timeouts. */
const STAY_PTOS = 3;
/** Challenges of one path that wait for their answer; more are not answered. */
const ANSWERS_MAX = 8;

/** RFC 9000 §8.2.2: the answer goes to where the challenge came from. */
export function onChallenge(path: Path, challenge: Frame, peer: number, frameBytes: number): void {
  const { tokenHigh, tokenLow } = challenge;
  const { isUsable, pathResponses, strayResponses } = path;
  if (peer === path.peer && isUsable) {
    if (pathResponses.length < 2 * ANSWERS_MAX) pathResponses.push(tokenHigh, tokenLow);
  } else if (strayResponses.length < 4 * ANSWERS_MAX) {
    strayResponses.push(peer, frameBytes, tokenHigh, tokenLow);
  }
}

/**
 * The packet came from another address than frames go to, or one is being validated. RFC 9000
 * §9.2, §9.3: the peer has moved when its newest packet that is more than a probe (`isNews`)
 * comes from there; it has not, or is back, when that comes from the old address.
 */
export function noteAddress(
  core: ConnectionCore,
  path: Path,
  peer: number,
  frameBytes: number,
  isNews: boolean,
): void {
  const { validation } = path;
  if (path.peer === PEER_UNKNOWN && validation === undefined) {
    validate(core, path, peer, false);
  } else if (isNews && peer === path.peer) {
    path.leftPeer = -1; // the peer came along: what comes from there now is a move back
    if (validation?.isOwnChoice === false) path.validation = undefined;
  } else if (isNews && validation?.peer !== peer && peer !== path.leftPeer) {
    // When both ends chose at once and not the same, the server gives in.
    const mayFollow = validation === undefined
      ? !core.isClient || core.nowUs >= path.stayUntilUs
      : !validation.isOwnChoice || validation.isFailover;
    if (mayFollow) validate(core, path, peer, false);
  }
  if (path.validation?.peer === peer) {
    path.validation.onReceived(frameBytes, core.nowUs);
  }
}

/** Starts to find out whether the peer is at an address. */
export function validate(
  core: ConnectionCore,
  path: Path,
  peer: number,
  isOwnChoice: boolean,
): void {
  // Of a new path nothing is known; the first one is the best guess.
  const { rtt, recovery } = path.isUsable ? path : core.primary;
  const ptoUs = rtt.ptoUs(recovery.maxAckDelayUs);
  path.validation = new PathValidation(peer, isOwnChoice, ptoUs, core.nowUs);
}

/**
 * The first path has long been unanswered: tries the address of another one that is not, each time
 * the next. The connection goes on there unless an acknowledgement comes before the answer.
 */
export function failOver(core: ConnectionCore): void {
  const { primary, paths } = core;
  if (primary.validation !== undefined) return;
  const others = paths.filter(({ isUsable, peer, ptosUnanswered }) =>
    isUsable && peer !== primary.peer && ptosUnanswered === 0
  );
  if (others.length === 0) return;
  validate(core, primary, others[primary.failovers++ % others.length].peer, true);
  primary.validation!.isFailover = true;
}

/** The peer answered from the address in question: frames go there from now on. */
export function onValidated(core: ConnectionCore, path: Path): void {
  const { peer, isOwnChoice, isFailover } = path.validation!;
  const elapsedUs = path.validation!.elapsedUs(core.nowUs);
  path.validation = undefined;
  if (isFailover && path.ptosUnanswered < FAILOVER_PTOS) return; // it was not dead
  // Only a peer that moved by itself can be known to have kept its way; ours may be another.
  const isSameWay = path.isUsable && !isOwnChoice && isSameHost(core, path.peer, peer);
  path.moveTo(peer, isOwnChoice, isSameWay, Math.max(elapsedUs, 1));
  if (isOwnChoice) {
    path.stayUntilUs = core.nowUs + STAY_PTOS * path.rtt.ptoUs(path.recovery.maxAckDelayUs);
  }
  path.acks.hurry(core.nowUs); // what was acknowledged to the old address may be lost
  if (path.isUsable) {
    core.events.push({ type: "migrated", peer });
  } else {
    path.isUsable = true;
    core.events.push({ type: "pathUsable", path: path.id });
  }
}

function isSameHost(core: ConnectionCore, a: number, b: number): boolean {
  return core.options.isSameHost?.(a, b) ?? false;
}

/** Nobody answered there in time. */
export function onNotValidated(core: ConnectionCore, path: Path): void {
  const { peer, isOwnChoice, isFailover } = path.validation!;
  path.validation = undefined;
  if (!path.isUsable) return core.extraPaths.close(path.id);
  if (isOwnChoice && !isFailover) core.events.push({ type: "migrationFailed", peer });
}
