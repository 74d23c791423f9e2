/** The bridge from gossip to the routing table. */
import { toHex } from "../../base/mod.ts";
import { advertEntries } from "../advertisement.ts";
import type { RoutingTable } from "../table.ts";
import type { AdvertEvent, AdvertStore } from "./advert_store.ts";

/**
 * Brings the table up to date with everything the store learned since the last call, and returns
 * what that was. The store's own advertisement is left out: a node knows its own models better
 * than by gossip, and enters them itself. Throws TABLE_FULL.
 */
export function followAdverts(store: AdvertStore, table: RoutingTable): AdvertEvent[] {
  const followed: AdvertEvent[] = [];
  for (let event = store.pollEvent(); event !== undefined; event = store.pollEvent()) {
    const nodeId = event.type === "updated" ? toHex(event.advert.nodeId) : event.nodeId;
    if (nodeId === store.nodeId) continue;
    if (event.type === "removed") table.removeNode(nodeId);
    else {table.setNode(
        nodeId,
        advertEntries(event.advert),
        event.expiresUs,
        event.advert.endpoints,
      );}
    followed.push(event);
  }
  return followed;
}
