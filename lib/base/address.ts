/** IP socket addresses and node ids as text. */
import { clip, fromHex, toHex } from "./bytes.ts";
import { NexusError } from "./errors.ts";

/** Bytes in a node id: the first half of SHA-256 of the identity key. */
export const NODE_ID_BYTES = 16;

/** `host:port`, with the host in brackets when it is IPv6. */
export interface SocketAddress {
  readonly host: string;
  readonly port: number;
}

/** "10.0.0.1:6477", "[::1]:6477", "name:6477", or without port when `portDefault` is given. */
export function parseSocketAddress(text: string, portDefault?: number): SocketAddress {
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]\s/]+))(?::(\d{1,5}))?$/.exec(text.trim());
  const port = match?.[3] === undefined ? portDefault : Number(match[3]);
  if (match === null || port === undefined || port > 65535) {
    throw new NexusError(
      "INVALID_ADDRESS",
      `cannot read address: "${clip(text)}" is not host:port or [ipv6]:port`,
    );
  }
  return { host: match[1] ?? match[2], port };
}

/** Text form that `parseSocketAddress` reads back. */
export function formatSocketAddress({ host, port }: SocketAddress): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Node id from 32 hex digits. */
export function parseNodeId(text: string): Uint8Array<ArrayBuffer> {
  if (text.length !== 2 * NODE_ID_BYTES || !/^[0-9a-fA-F]+$/.test(text)) {
    throw new NexusError(
      "INVALID_NODE_ID",
      `cannot read node id: "${clip(text)}" is not 32 hex digits`,
    );
  }
  return fromHex(text);
}

/** 32 lower-case hex digits. */
export function formatNodeId(id: Uint8Array): string {
  return toHex(id);
}
