/** The node's numbers for /metrics, read when somebody scrapes. */
import type { MetricsSource, NetworkNumbers } from "./metrics.ts";
import type { Node } from "./node.ts";

export class NodeNumbers implements MetricsSource {
  readonly #node: Node;

  constructor(node: Node) {
    this.#node = node;
  }

  network(): NetworkNumbers {
    const { driver, port } = this.#node;
    const { counters } = driver.endpoint;
    const stats = port.stats();
    let streams = 0;
    let client = 0;
    let server = 0;
    for (const session of driver.sessions) {
      if (session.initiator) client++;
      else server++;
      streams += session.connection?.openStreamCount ?? 0;
    }
    return {
      framesSent: stats.txFrames,
      framesReceived: stats.rxFrames,
      bytesSent: stats.txBytes,
      bytesReceived: stats.rxBytes,
      drops: {
        ...Object.fromEntries(counters.drops),
        overlay_malformed: stats.rxMalformed,
        wrong_vni: stats.rxWrongVni,
        too_long: stats.rxTooLong,
        no_slot: stats.rxNoSlot,
        queue_full: stats.rxQueueFull,
      },
      retransmissions: driver.packetsLost,
      connections: { client, server },
      streams,
    };
  }

  node() {
    const { local, table, service, state } = this.#node;
    const health = local.health();
    return {
      knownNodes: table.nodeCount,
      routes: table.entryCount,
      activeRequests: service.active,
      queuedRequests: health.queueDepth,
      load: health.load,
      ready: this.#node.notReady().length === 0,
      draining: state === "draining",
    };
  }

  providers() {
    return Object.fromEntries(
      this.#node.local.providers.map((provider) => {
        const { state, active, queueDepth } = provider.health();
        return [provider.name, { up: state === "ready", active, queueDepth }];
      }),
    );
  }

  certificateNotAfterS(): number | undefined {
    return this.#node.membership.mic?.notAfter;
  }
}
