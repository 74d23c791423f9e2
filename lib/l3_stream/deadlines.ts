/** Deadlines of probabilistic streams: when a block must go out, when what is missing never comes. */
import { NEVER } from "../base/mod.ts";
import type { ConnectionCore } from "./core.ts";
import type { Stream } from "./streams/stream.ts";
import { Timer } from "./timers.ts";

/** Sees to it that a PR stream's deadline is kept. */
export function watch(core: ConnectionCore, stream: Stream): void {
  const { deadlineUs } = stream;
  if (deadlineUs === NEVER) return;
  core.timed.add(stream);
  if (deadlineUs < core.timers.at(Timer.Probabilistic)) {
    core.timers.set(Timer.Probabilistic, deadlineUs);
  }
}

/** Timer.Probabilistic is due. */
export function onStreamDeadlines(core: ConnectionCore): void {
  for (const stream of [...core.timed]) {
    stream.prOut!.flush(core.nowUs);
    core.schedule(stream);
    core.closeWhenSent(stream);
    if (stream.prIn!.lingerUs <= core.nowUs) endLinger(core, stream);
    core.timed.delete(stream);
    watch(core, stream);
  }
}

/** What of a PR stream has not arrived by now never will. */
export function endLinger(core: ConnectionCore, stream: Stream): void {
  if (stream.prIn === undefined) return;
  stream.prIn.isOver = true;
  stream.prIn.lingerUs = NEVER;
  core.checkReceive(stream);
}
