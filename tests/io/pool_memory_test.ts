import assert from "node:assert/strict";
import { openLibc } from "../../ffi/libc.ts";
import { openBestPort } from "../../lib/io/open_port.ts";
import { bestPoolMemory, type MappedMemory, mapPoolMemory } from "../../lib/io/pool_memory.ts";
import { buildFrame, Burst, PoolSet } from "../../lib/l1_link/mod.ts";
import { NATIVE_LIBRARY } from "../support/native.ts";
import { type Need, testNeeding } from "../support/needs.ts";

const MIB = 1024 * 1024;
const HUGE_PAGES = "/proc/sys/vm/nr_hugepages";

const LIBC: Need = {
  name: "the C library through FFI",
  present: openLibc() !== undefined,
  enable: "run on Linux with --allow-ffi",
};
const TRANSPARENT: Need = {
  name: "transparent huge pages",
  present: /\[(always|madvise)\]/.test(read("/sys/kernel/mm/transparent_hugepage/enabled")),
  enable: "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
};
const HUGETLB: Need = {
  name: "root, to reserve four huge pages",
  present: canReserve(),
  enable: "run as root on a kernel with hugetlbfs",
};

testNeeding([LIBC], "NL-R-005: mapped memory is zeroed, writable and as long as asked for", () => {
  const memory = mapPoolMemory(5 * MIB + 64)!;
  try {
    assert.equal(memory.bytes.length, 5 * MIB + 64);
    assert(memory.bytes.every((byte) => byte === 0));
    memory.bytes.fill(0xa5);
    assert.equal(memory.bytes.at(-1), 0xa5);
    assert.equal(memory.address % 4096, 0);
  } finally {
    memory.unmap();
  }
});

testNeeding(
  [LIBC, TRANSPARENT],
  "NL-R-002: without reserved pages the pool gets transparent huge ones",
  () => {
    const memory = withHugePages(0, () => mapPoolMemory(8 * MIB)!);
    try {
      assert.equal(memory.pages, "transparent huge");
      assert.equal(memory.address % (2 * MIB), 0);
    } finally {
      memory.unmap();
    }
  },
);

testNeeding([LIBC, HUGETLB], "NL-R-002: reserved huge pages are used and named", () => {
  withHugePages(4, () => {
    const memory = mapPoolMemory(7 * MIB)!;
    try {
      assert.equal(memory.pages, "hugetlb 2 MiB");
      memory.bytes.fill(1);
      // All four are taken, so the next pool has to do without.
      const second = mapPoolMemory(2 * MIB)!;
      assert.notEqual(second.pages, "hugetlb 2 MiB");
      second.unmap();
    } finally {
      memory.unmap();
    }
  });
});

testNeeding([LIBC], "NL-R-002: a block too small for a huge page does not take one", () => {
  const memory = withHugePages(4, () => mapPoolMemory(64 * 1024)!);
  assert(!memory.pages.startsWith("hugetlb"));
  memory.unmap();
});

testNeeding([LIBC], "NL-R-001: another thread sees mapped memory by its address", async () => {
  const memory = mapPoolMemory(4096)!;
  const worker = new Worker(new URL("./pool_memory_worker.ts", import.meta.url), {
    type: "module",
  });
  try {
    memory.bytes[7] = 41;
    const answered = new Promise((resolve) => worker.onmessage = resolve);
    worker.postMessage({ address: memory.address, bytes: 4096 });
    await answered;
    assert.equal(memory.bytes[7], 42);
  } finally {
    worker.terminate();
    memory.unmap();
  }
});

for (const kind of ["udp", "udp-native"] as const) {
  const needs = kind === "udp" ? [LIBC] : [LIBC, NATIVE_LIBRARY];
  testNeeding(
    needs,
    `NL-R-002: frames pass through a ${kind} port whose pool is mapped memory`,
    async () => {
      const set = new PoolSet({ counts: { small: 8, jumbo: 4, large: 0 }, source: mapOrFail });
      const listen = { host: "127.0.0.1", port: 0 };
      // Not the first pool of the set: its slots do not start where the memory does.
      const pool = set.poolFor(9000)!;
      const { port } = await openBestPort({ kind, listen, vni: 7, pool });
      try {
        const frame = buildFrame({ sequence: 5 }, [], new Uint8Array(5000).fill(0x77));
        const slot = pool.alloc();
        pool.bytes.set(frame, pool.frameOffsetOf(slot));
        const burst = new Burst();
        burst.push(slot, pool.frameOffsetOf(slot), frame.length, 0, port.peer(port.localAddress));
        assert.equal(port.txBurst(burst), 1);
        while (port.rxBurst(burst) === 0) await port.wait(Infinity);
        const at = burst.offset[0];
        assert.deepEqual(pool.bytes.slice(at, at + burst.length[0]), frame);
        pool.free(burst.slot[0]);
      } finally {
        await port.close();
      }
      assert.equal(pool.available, pool.slots);
      (set.memory as MappedMemory).unmap();
    },
  );
}

function mapOrFail(bytes: number): MappedMemory {
  const memory = mapPoolMemory(bytes);
  assert(memory !== undefined);
  return memory;
}

Deno.test("NL-R-002: every machine gives memory for the default pools and says which pages", () => {
  const set = new PoolSet({ counts: { small: 64, jumbo: 8, large: 2 }, source: bestPoolMemory });
  assert.match(set.memory.pages, /^(hugetlb (1 GiB|2 MiB)|transparent huge|plain)$/);
  const pool = set.poolFor(9000)!;
  const at = pool.frameOffsetOf(pool.alloc());
  pool.view.setUint32(at, 0x01020304);
  assert.equal(pool.bytes[at + 3], 4);
});

Deno.test("NL-R-002: without FFI permission a pool is shared memory in plain pages", async () => {
  const source = new URL("../../lib/io/pool_memory.ts", import.meta.url);
  const script = `import { bestPoolMemory } from ${JSON.stringify(source.href)};
    const { pages, bytes } = bestPoolMemory(65536);
    console.log(pages, bytes.buffer instanceof SharedArrayBuffer);`;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, script);
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", file],
      stderr: "inherit",
    }).output();
    assert.equal(new TextDecoder().decode(stdout), "plain true\n");
  } finally {
    await Deno.remove(file);
  }
});

/** Runs with `free` huge pages more than are in use now, and puts the number back. */
function withHugePages<T>(free: number, run: () => T): T {
  if (!HUGETLB.present) return run();
  const before = read(HUGE_PAGES);
  try {
    write(HUGE_PAGES, String(free));
    return run();
  } finally {
    write(HUGE_PAGES, before);
  }
}

function canReserve(): boolean {
  const before = read(HUGE_PAGES);
  if (before !== "0") return false; // Somebody uses them: not ours to change.
  write(HUGE_PAGES, "4");
  const got = read(HUGE_PAGES) === "4";
  write(HUGE_PAGES, before);
  return got;
}

// Through the shell: Deno opens nothing below /proc without every permission.
function read(path: string): string {
  return shell(`cat ${path}`);
}

function write(path: string, text: string): void {
  shell(`echo ${text} > ${path}`);
}

function shell(line: string): string {
  const { stdout } = new Deno.Command("sh", { args: ["-c", line], stderr: "null" }).outputSync();
  return new TextDecoder().decode(stdout).trim();
}
