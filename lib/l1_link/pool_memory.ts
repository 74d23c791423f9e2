/**
 * Where the bytes of a pool come from (NL-R-002, NL-R-006). The layer itself can only make a
 * SharedArrayBuffer, which works everywhere; lib/io/pool_memory.ts maps huge pages.
 */

/** Pages behind a pool, best first. What a node prints about its pool. */
export type PoolPages = "hugetlb 1 GiB" | "hugetlb 2 MiB" | "transparent huge" | "plain";

/** One block of memory. */
export interface PoolMemory {
  readonly bytes: Uint8Array;
  readonly pages: PoolPages;
  /**
   * Where `bytes` starts in this process, for ports that hand addresses to the kernel or a device
   * (IOVA as virtual address, page aligned). 0 when it is not known.
   */
  readonly address: number;
}

/** Gives a block of at least `bytes` zeroed bytes. */
export type PoolMemorySource = (bytes: number) => PoolMemory;

/** The portable source: plain pages that Workers can share. */
export const sharedPoolMemory: PoolMemorySource = (bytes) => ({
  bytes: new Uint8Array(new SharedArrayBuffer(bytes)),
  pages: "plain",
  address: 0,
});
