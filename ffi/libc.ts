/** The few calls of the C library that map memory. Linux on 64-bit machines. */

/** Protection, flags and advice of mmap(2) and madvise(2) as Linux numbers them. */
export const MMAP = {
  PROT_READ: 0x1,
  PROT_WRITE: 0x2,
  MAP_PRIVATE: 0x02,
  MAP_ANONYMOUS: 0x20,
  MAP_HUGETLB: 0x40000,
  /** log2 of the huge page size stands in the flags from this bit on. */
  MAP_HUGE_SHIFT: 26,
  MADV_HUGEPAGE: 14,
  /** Since Linux 5.14: fails where touching the pages would kill the process. */
  MADV_POPULATE_WRITE: 23,
} as const;

const symbols = {
  mmap: { parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "usize" },
  munmap: { parameters: ["usize", "usize"], result: "i32" },
  madvise: { parameters: ["usize", "usize", "i32"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

/** The calls, with addresses as bigint. */
export type Libc = Deno.DynamicLibrary<typeof symbols>["symbols"];

let library: Libc | null | undefined;

/** The C library, undefined where it cannot be opened (another system, no permission). */
export function openLibc(): Libc | undefined {
  library ??= open();
  return library ?? undefined;
}

function open(): Libc | null {
  if (Deno.build.os !== "linux") return null;
  // Asked first, so that no permission prompt interrupts a program that can do without.
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return null;
  try {
    return Deno.dlopen("libc.so.6", symbols).symbols;
  } catch {
    return null;
  }
}
