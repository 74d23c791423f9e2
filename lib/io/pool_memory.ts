/**
 * Memory for pools in the largest pages that the system gives (NL-R-002): hugetlb pages when some
 * are reserved, else transparent huge pages, else plain ones. What is reported is what the kernel
 * says afterwards, not what was asked for.
 */
import { type Libc, MMAP, openLibc } from "../../ffi/libc.ts";
import { type PoolMemory, type PoolPages, sharedPoolMemory } from "../l1_link/mod.ts";

const MIB = 1024 * 1024;

/** Kinds of hugetlb pages with the log2 of their size, best first. */
const HUGETLB: readonly { pages: PoolPages; log2: number }[] = [
  { pages: "hugetlb 1 GiB", log2: 30 },
  { pages: "hugetlb 2 MiB", log2: 21 },
];
/** A transparent huge page needs this alignment. */
const THP_BYTES = 2 * MIB;
/** mmap's MAP_FAILED, (void *)-1. */
const MAP_FAILED = 2n ** 64n - 1n;
/** More than any memory map of ours; the rest would be cut. */
const SMAPS_BYTES_MAX = 16 * MIB;

/** A mapped block. Pools live as long as their process; `unmap` is for tools and tests. */
export interface MappedMemory extends PoolMemory {
  /** Gives the pages back. No view of the memory may be touched afterwards, in any thread. */
  unmap(): void;
}

/**
 * The best memory for a pool of `bytes`; falls back to a SharedArrayBuffer where nothing can be
 * mapped (no FFI permission, another system). Fits PoolSet's `source`.
 */
export function bestPoolMemory(bytes: number): PoolMemory {
  return mapPoolMemory(bytes) ?? sharedPoolMemory(bytes);
}

/** Mapped memory outside JavaScript's heap, undefined where mmap cannot be called. */
export function mapPoolMemory(bytes: number): MappedMemory | undefined {
  const libc = openLibc();
  if (libc === undefined) return undefined;
  for (const { pages, log2 } of HUGETLB) {
    // A page that would be more than half empty costs more than it gives.
    if (bytes < 2 ** log2 / 2) continue;
    const memory = mapHugetlb(libc, bytes, pages, log2);
    if (memory !== undefined) return memory;
  }
  return mapTransparent(libc, bytes);
}

function mapHugetlb(
  libc: Libc,
  bytes: number,
  pages: PoolPages,
  log2: number,
): MappedMemory | undefined {
  const length = roundUp(bytes, 2 ** log2);
  const flags = MMAP.MAP_HUGETLB | (log2 << MMAP.MAP_HUGE_SHIFT);
  const address = map(libc, length, flags);
  if (address === undefined) return undefined;
  if (libc.madvise(address, BigInt(length), MMAP.MADV_POPULATE_WRITE) !== 0) {
    // Reserved for us but not there (a limit of the control group, say): touching it would kill us.
    libc.munmap(address, BigInt(length));
    return undefined;
  }
  return mapped(libc, address, address, length, bytes, pages);
}

function mapTransparent(libc: Libc, bytes: number): MappedMemory | undefined {
  const length = roundUp(bytes, THP_BYTES) + THP_BYTES;
  const start = map(libc, length, 0);
  if (start === undefined) return undefined;
  const address = (start + BigInt(THP_BYTES - 1)) & ~BigInt(THP_BYTES - 1);
  const used = BigInt(length - THP_BYTES);
  libc.madvise(address, used, MMAP.MADV_HUGEPAGE);
  libc.madvise(address, used, MMAP.MADV_POPULATE_WRITE);
  const pages = hasHugePages(libc, address) ? "transparent huge" : "plain";
  return mapped(libc, start, address, length, bytes, pages);
}

function map(libc: Libc, length: number, flags: number): bigint | undefined {
  const address = libc.mmap(
    0n,
    BigInt(length),
    MMAP.PROT_READ | MMAP.PROT_WRITE,
    MMAP.MAP_PRIVATE | MMAP.MAP_ANONYMOUS | flags,
    -1,
    0n,
  );
  return address === MAP_FAILED ? undefined : address;
}

function mapped(
  libc: Libc,
  start: bigint,
  address: bigint,
  length: number,
  bytes: number,
  pages: PoolPages,
): MappedMemory {
  return {
    bytes: viewOf(address, bytes),
    pages,
    address: Number(address), // User addresses are below 2^48.
    unmap: () => void libc.munmap(start, BigInt(length)),
  };
}

/** A view of mapped memory in another Worker, from the `address` it was told. */
export function viewPoolMemory({ address, bytes }: { address: number; bytes: number }): Uint8Array {
  return viewOf(BigInt(address), bytes);
}

function viewOf(address: bigint, bytes: number): Uint8Array {
  const pointer = Deno.UnsafePointer.create(address)!;
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, bytes));
}

/** Whether the mapping at `address` holds huge pages now (proc(5), /proc/pid/smaps). */
function hasHugePages(libc: Libc, address: bigint): boolean {
  let inside = false;
  for (const line of readThroughLibc(libc, "/proc/self/smaps").split("\n")) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (range !== null) {
      inside = BigInt(`0x${range[1]}`) <= address && address < BigInt(`0x${range[2]}`);
    } else if (inside && line.startsWith("AnonHugePages:")) {
      return !/ 0 kB/.test(line);
    }
  }
  return false;
}

/** Deno wants every permission for /proc/self; the C library does not. Empty when unreadable. */
function readThroughLibc(libc: Libc, path: string): string {
  const file = libc.open(new TextEncoder().encode(`${path}\0`), 0);
  if (file < 0) return "";
  const parts: Uint8Array[] = [];
  for (let total = 0; total < SMAPS_BYTES_MAX;) {
    const chunk = new Uint8Array(64 * 1024);
    const count = Number(libc.read(file, chunk, BigInt(chunk.length)));
    if (count <= 0) break;
    parts.push(chunk.subarray(0, count));
    total += count;
  }
  libc.close(file);
  return parts.map((part) => new TextDecoder().decode(part)).join("");
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
