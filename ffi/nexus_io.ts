/** Binding of libnexus_io; ffi/native/nx_io.h says what each function does. */
import { openIsal } from "./libisal.ts";
import { builtFile, openLibrary } from "./locate.ts";

/** NX_ABI_VERSION of the header that this file was written for. */
export const NX_ABI_VERSION = 6;

/** Slots that one receive can use. */
export const NX_RX_SLOTS_MAX = 16;

/** Bits of nx_features. */
export const NxFeature = {
  UDP: 1,
  CRC32C: 2,
  RS: 4,
  AEAD_IMB: 8,
  AEAD_EVP: 16,
} as const;

/** Bits that the burst helpers leave in a descriptor's flags. */
export const NxDescriptor = { CRC_BAD: 0x100, OPEN_BAD: 0x200, MALFORMED: 0x400 } as const;

/** Bits of NxOpenOptions.flags. */
export const NxOpen = {
  REUSE_PORT: 1,
  NO_GSO: 2,
  NO_GRO: 4,
  TIMESTAMPS: 8,
  PMTU_DO: 16,
  CHECK_CRC: 32,
  TRAINS: 64,
} as const;

/** Events of nx_wait and nx_arm. */
export const NxWait = { READ: 1, WRITE: 2 } as const;

/** What the waker's callback is told in answer to nx_waker_last; the tag of no port. */
export const NX_WAKER_LAST = 0;

/** What nx_frames_crc does. */
export const NxCrc = { WRITE: 0, CHECK: 1 } as const;

/** Which library runs a key. */
export const NxBackend = { BEST: 0, IMB: 1, EVP: 2 } as const;

/** Counters of nx_stats in their order. */
export const NX_STATS = [
  "rxFrames",
  "rxBytes",
  "rxMalformed",
  "rxWrongVni",
  "rxTooLong",
  "rxNoSlot",
  "rxQueueFull",
  "rxErrors",
  "txFrames",
  "txBytes",
  "txErrors",
  "txUnknownPeer",
  "rxTrains",
  "txTrains",
] as const;

/** Longest numeric host with zone, and its NUL. */
export const NX_HOST_BYTES = 64;

/** Linux error numbers that callers tell apart. */
export const Errno = {
  ENOENT: 2,
  EACCES: 13,
  EINVAL: 22,
  ENODATA: 61,
  ENOTSUP: 95,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
} as const;

const symbols = {
  nx_abi: { parameters: [], result: "u32" },
  nx_features: { parameters: [], result: "u32" },
  nx_open: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
  nx_close: { parameters: ["i32"], result: "i32" },
  nx_local_address: { parameters: ["i32", "buffer"], result: "i32" },
  nx_peer: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  nx_peer_address: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  nx_rx_burst: { parameters: ["i32", "buffer", "buffer", "u32", "u32"], result: "i32" },
  nx_tx_burst: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  nx_wait: { parameters: ["i32", "u32", "u32"], result: "i32" },
  nx_arm: { parameters: ["i32", "u32"], result: "i32" },
  nx_stats: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  nx_waker_open: { parameters: ["function"], result: "i32" },
  nx_waker_last: { parameters: ["i32"], result: "i32" },
  nx_crc32c: { parameters: ["buffer", "u32", "u32", "u32"], result: "u32" },
  nx_frames_crc: { parameters: ["buffer", "u32", "buffer", "u32", "u32", "u32"], result: "i32" },
  nx_key_open: { parameters: ["u32", "u32", "buffer", "buffer", "u32"], result: "i32" },
  nx_key_bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  nx_seal_run: {
    parameters: ["i32", "buffer", "u32", "buffer", "buffer", "buffer"],
    result: "i32",
  },
  nx_seal_frame: {
    parameters: ["i32", "buffer", "u32", "u32", "u32", "u32", "u32"],
    result: "i32",
  },
  nx_open_run: {
    parameters: ["i32", "buffer", "u32", "buffer", "buffer", "u32", "buffer", "buffer"],
    result: "i32",
  },
  nx_key_close: { parameters: ["i32"], result: "i32" },
  nx_aead_seal: {
    parameters: ["i32", "buffer", "buffer", "u32", "buffer", "u32", "u32", "u32"],
    result: "i32",
  },
  nx_aead_open: {
    parameters: ["i32", "buffer", "buffer", "u32", "buffer", "u32", "u32", "u32"],
    result: "i32",
  },
  nx_seal: {
    parameters: ["i32", "buffer", "u32", "buffer", "u32", "u32", "buffer"],
    result: "i32",
  },
  nx_open_sealed: {
    parameters: ["i32", "buffer", "u32", "buffer", "u32", "u32", "buffer"],
    result: "i32",
  },
  nx_rs_encode: { parameters: ["u32", "u32", "buffer", "u32", "buffer", "u32"], result: "i32" },
  nx_rs_decode: {
    parameters: ["u32", "u32", "buffer", "u32", "buffer", "buffer", "u32"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions of the library. */
export type NexusIo = Deno.DynamicLibrary<typeof symbols>["symbols"];

/** The library, or why it cannot be used. */
export type NexusIoState =
  | { readonly io: NexusIo; readonly features: number }
  | { readonly unavailable: string };

let state: NexusIoState | undefined;

/** Opens the library once per isolate; it stays open. */
export function nexusIo(): NexusIoState {
  return state ??= open();
}

function open(): NexusIoState {
  const isal = openIsal();
  const opened = openLibrary(builtFile("libnexus_io.so"), symbols);
  if ("unavailable" in opened) {
    // A build without ISA-L opens without it; one with it says only that it is missing.
    const because = isal === undefined || opened.unavailable.includes("missing") ? "" : `; ${isal}`;
    return { unavailable: `native library: ${opened.unavailable}${because}` };
  }
  const io = opened.symbols;
  const abi = io.nx_abi();
  if (abi !== NX_ABI_VERSION) {
    return {
      unavailable:
        `native library: its ABI is version ${abi}, expected ${NX_ABI_VERSION} (deno task build makes it anew)`,
    };
  }
  return { io, features: io.nx_features() };
}

/** struct nx_open_options. */
export interface NxOpenOptions {
  readonly flags: number;
  readonly vni: number;
  readonly port: number;
  readonly poolBase: number;
  readonly slotBytes: number;
  readonly slots: number;
  readonly socketBufferBytes: number;
  readonly peersLearnedMax: number;
  readonly peersKnownMax: number;
  readonly waker: number;
  readonly tag: number;
  readonly groupSize: number;
  readonly groupIndex: number;
  readonly host: string;
}

/** The bytes of struct nx_open_options: its words and the host. */
export function encodeOpenOptions(o: NxOpenOptions): Uint8Array<ArrayBuffer> {
  const words = Uint32Array.of(
    NX_ABI_VERSION,
    o.flags,
    o.vni,
    o.port,
    o.poolBase,
    o.slotBytes,
    o.slots,
    o.socketBufferBytes,
    o.peersLearnedMax,
    o.peersKnownMax,
    o.waker,
    o.tag,
    o.groupSize,
    o.groupIndex,
  );
  const bytes = new Uint8Array(words.byteLength + NX_HOST_BYTES);
  bytes.set(new Uint8Array(words.buffer));
  bytes.set(encodeHost(o.host), words.byteLength);
  return bytes;
}

/** A host with its NUL, as C wants it; cut where no numeric host can be that long. */
export function encodeHost(host: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(NX_HOST_BYTES);
  new TextEncoder().encodeInto(host, bytes.subarray(0, NX_HOST_BYTES - 1));
  return bytes;
}

/** The text that C wrote. */
export function decodeHost(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
}
