/** What a connection and its paths do when a time has come, and when that is. */
import { NEVER } from "../base/mod.ts";
import { type ConnectionCore, PENDING_PING } from "./core.ts";
import { onStreamDeadlines } from "./deadlines.ts";
import { failOver, FAILOVER_PTOS, onNotValidated } from "./migration.ts";
import type { Path } from "./path.ts";
import type { SentFramesSink } from "./sent_frames.ts";
import { Timer } from "./timers.ts";

/** NS-RO: this many probe timeouts in a row without an answer end the connection. */
export const PTO_COUNT_MAX = 10;
/** RFC 9002 §6.2.4: a probe timeout sends up to two packets. */
const PROBES_PER_PTO = 2;

/** Does what is due at `core.nowUs`. */
export function handleTimeouts(core: ConnectionCore, sink: SentFramesSink): void {
  const { timers, nowUs } = core;
  if (timers.take(Timer.Close, nowUs)) return core.forgetConnection();
  if (timers.take(Timer.CloseRepeat, nowUs)) core.repeatClose();
  if (!core.isOpen) return;
  if (timers.take(Timer.Probabilistic, nowUs)) onStreamDeadlines(core);
  if (timers.take(Timer.Connect, nowUs)) {
    const ms = core.config.connectTimeoutMs;
    return core.giveUp("CONNECT_TIMEOUT", `peer sent no parameters for ${ms} ms`);
  }
  if (timers.take(Timer.Idle, nowUs)) {
    return core.giveUp("IDLE_TIMEOUT", `peer was silent for ${core.idleTimeoutMs} ms`);
  }
  if (timers.take(Timer.KeepAlive, nowUs)) {
    core.pending |= PENDING_PING;
    timers.set(Timer.KeepAlive, nowUs + core.config.keepAliveMs * 1_000);
  }
  // From the back: a path may be closed and taken out.
  for (let i = core.paths.length - 1; i >= 0; i--) onPathTimeout(core, sink, core.paths[i]);
}

function onPathTimeout(core: ConnectionCore, sink: SentFramesSink, path: Path): void {
  if (path.pacingUs <= core.nowUs) path.pacingUs = NEVER;
  if (path.validation !== undefined && path.validation.deadlineUs <= core.nowUs) {
    onNotValidated(core, path);
  }
  if (!path.isUsable) return;
  sink.path = path;
  if (path.recovery.onTimeout(core.nowUs, sink) === "pto") onProbeTimeout(core, sink, path);
}

/** Nothing was acknowledged for a while: repeats the oldest packets if there is nothing new. */
function onProbeTimeout(core: ConnectionCore, sink: SentFramesSink, path: Path): void {
  if (++path.ptosUnanswered >= PTO_COUNT_MAX) {
    if (path !== core.primary) return core.extraPaths.close(path.id);
    const why = `peer acknowledged nothing in ${PTO_COUNT_MAX} probe timeouts`;
    return core.giveUp("PEER_UNREACHABLE", why);
  }
  if (path === core.primary && path.ptosUnanswered >= FAILOVER_PTOS) failOver(core);
  path.probes = PROBES_PER_PTO;
  path.recovery.repeatOldest(PROBES_PER_PTO, sink);
}

/** When something is due next; NEVER when nothing is pending. */
export function nextTimeoutUs(core: ConnectionCore): number {
  let nextUs = core.timers.next();
  if (!core.isOpen) return core.state === "closed" ? NEVER : nextUs;
  for (const path of core.paths) nextUs = Math.min(nextUs, path.nextTimeoutUs());
  return nextUs;
}
