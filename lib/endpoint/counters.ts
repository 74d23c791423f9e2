/** What an endpoint counts. Drops are counted by reason, never answered. */
export interface EndpointCounters {
  framesIn: number;
  framesOut: number;
  bytesIn: number;
  bytesOut: number;
  handshakesDone: number;
  handshakesFailed: number;
  readonly drops: Map<string, number>;
  drop(reason: string): void;
}

export class Counters implements EndpointCounters {
  framesIn = 0;
  framesOut = 0;
  bytesIn = 0;
  bytesOut = 0;
  handshakesDone = 0;
  handshakesFailed = 0;
  readonly drops = new Map<string, number>();

  drop(reason: string): void {
    this.drops.set(reason, (this.drops.get(reason) ?? 0) + 1);
  }
}

/** Drop reasons by value, made from the words of an enum. */
export function dropReasons(
  prefix: string,
  values: Readonly<Record<string, number>>,
): readonly string[] {
  const names: string[] = [];
  for (const [word, value] of Object.entries(values)) {
    const snake = word.replace(/([a-z])([A-Z])/g, "$1_$2").toLowerCase();
    names[value] = `${prefix}_${snake}`;
  }
  return names;
}
