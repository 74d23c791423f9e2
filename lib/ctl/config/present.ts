/**
 * A loaded config in the words of its file: what the loader made of text (addresses, capability
 * bits, costs) becomes text again, so that what is shown can be saved and loaded.
 */
import { formatNodeId, formatSocketAddress, type SocketAddress } from "../../base/mod.ts";
import { formatArchitecture, formatCapabilities, formatRegion } from "../../l2_route/mod.ts";

/** Plain data for YAML or JSON; keys without value are left out. */
export function presentConfig(
  config: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return present(config, "") as Record<string, unknown>;
}

function present(value: unknown, key: string): unknown {
  if (key === "weights") return value; // Plain numbers under the names of other keys.
  if (Array.isArray(value)) return value.map((item) => present(item, key));
  if (typeof value === "number") return presentNumber(value, key);
  if (typeof value !== "object" || value === null) return value;
  const record = value as Readonly<Record<string, unknown>>;
  if (isAddress(record)) return formatSocketAddress(record);
  if (isSeed(record)) {
    const where = formatSocketAddress(record.address);
    return record.nodeId === undefined ? where : `${formatNodeId(record.nodeId)}@${where}`;
  }
  if (isCost(record)) {
    const dollars = (record.micros / 1e6).toFixed(6).replace(/\.?0+$/, "");
    return `$${dollars}${record.per1k ? "/1k" : ""}`;
  }
  return Object.fromEntries(
    Object.entries(record)
      .filter(([, each]) => each !== undefined)
      .map(([name, each]) => [name, present(each, name)]),
  );
}

/** Numbers that are words in the file; these keys mean the same in providers and models. */
function presentNumber(value: number, key: string): unknown {
  switch (key) {
    case "capabilities":
      return formatCapabilities(value).split("+").filter((word) => word !== "");
    case "arch":
      return formatArchitecture(value);
    case "region":
      return formatRegion(value);
    case "benchmark":
      return value / 1000;
    default:
      return value;
  }
}

function isAddress(
  record: Readonly<Record<string, unknown>>,
): record is Record<string, unknown> & SocketAddress {
  return typeof record.host === "string" && typeof record.port === "number";
}

function isSeed(
  record: Readonly<Record<string, unknown>>,
): record is { address: SocketAddress; nodeId?: Uint8Array } {
  const { address } = record;
  return typeof address === "object" && address !== null &&
    isAddress(address as Record<string, unknown>);
}

function isCost(
  record: Readonly<Record<string, unknown>>,
): record is { micros: number; per1k: boolean } {
  return typeof record.micros === "number" && typeof record.per1k === "boolean";
}
