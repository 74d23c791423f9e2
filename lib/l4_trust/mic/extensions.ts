/** The extensions of a certificate (protocol.md §3.1): who may use it for what. */
import { ByteReader, ByteWriter, NexusError } from "../../base/mod.ts";
import { type Item, malformed, readItems, writeItems } from "./claims.ts";

/** Extension ids (protocol.md §3.1). */
export const EXTENSION = {
  tenant: 0x01,
  basicConstraints: 0x02,
  capabilityConstraint: 0x03,
  nodeRole: 0x07,
} as const;

/** A node may advertise and answer; a client may only ask. */
export type NodeRole = "node" | "client";

/** Typed extensions; an absent field is an absent extension. */
export interface MicExtensions {
  /** VNI that the certificate is for. */
  readonly tenant?: number;
  readonly basicConstraints?: { readonly isCa: boolean; readonly pathLength: number };
  /** Capability bits that certificates below may claim. */
  readonly capabilityConstraint?: number;
  readonly role?: NodeRole;
  /** Extensions with id ≥ 0x80 that this version does not know; they mean nothing here. */
  readonly others?: readonly Item[];
}

/** From here on an unknown extension is ignored; below it refuses the certificate. */
const IGNORABLE_FROM = 0x80;

/** NODE_ROLE on the wire. */
export const ROLE_CODES: Readonly<Record<NodeRole, number>> = { node: 1, client: 2 };
const NONE_REPEATS: ReadonlySet<number> = new Set();

/** Writes `extension_count ‖ extensions`. */
export function writeExtensions(writer: ByteWriter, extensions: MicExtensions): void {
  const items: Item[] = [...extensions.others ?? []];
  const { tenant, basicConstraints, capabilityConstraint, role } = extensions;
  if (tenant !== undefined) items.push({ id: EXTENSION.tenant, value: u32(tenant) });
  if (basicConstraints !== undefined) {
    const { isCa, pathLength } = basicConstraints;
    items.push({
      id: EXTENSION.basicConstraints,
      value: Uint8Array.of(isCa ? 1 : 0, pathLength),
    });
  }
  if (capabilityConstraint !== undefined) {
    items.push({ id: EXTENSION.capabilityConstraint, value: u32(capabilityConstraint) });
  }
  if (role !== undefined) {
    items.push({ id: EXTENSION.nodeRole, value: Uint8Array.of(ROLE_CODES[role]) });
  }
  writeItems(writer, items);
}

/** Reads `extension_count ‖ extensions`; UNSUPPORTED_EXTENSION for an unknown one below 0x80. */
export function readExtensions(reader: ByteReader): MicExtensions {
  const extensions: { -readonly [K in keyof MicExtensions]: MicExtensions[K] } = {};
  const others: Item[] = [];
  for (const item of readItems(reader, NONE_REPEATS)) {
    const value = new ByteReader(item.value, reader.what);
    switch (item.id) {
      case EXTENSION.tenant:
        extensions.tenant = value.u32();
        break;
      case EXTENSION.basicConstraints:
        extensions.basicConstraints = {
          isCa: oneOf(value.u8(), [0, 1], "is_ca", reader.what) === 1,
          pathLength: value.u8(),
        };
        break;
      case EXTENSION.capabilityConstraint:
        extensions.capabilityConstraint = value.u32();
        break;
      case EXTENSION.nodeRole:
        extensions.role = oneOf(value.u8(), [1, 2], "role", reader.what) === 1 ? "node" : "client";
        break;
      default:
        if (item.id < IGNORABLE_FROM) {
          throw new NexusError(
            "UNSUPPORTED_EXTENSION",
            `cannot read ${reader.what}: extension 0x${item.id.toString(16)} is not known, ` +
              `expected one of ${
                Object.values(EXTENSION).join(", ")
              } or at least ${IGNORABLE_FROM}`,
          );
        }
        others.push(item);
        continue;
    }
    value.end();
  }
  if (others.length > 0) extensions.others = others;
  return extensions;
}

function u32(value: number): Uint8Array {
  return new ByteWriter(4).u32(value).finish();
}

function oneOf(value: number, allowed: number[], name: string, what: string): number {
  if (!allowed.includes(value)) {
    throw malformed(what, `${name} is ${value}, expected ${allowed.join(" or ")}`);
  }
  return value;
}
