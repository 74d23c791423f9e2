/** A native thread and TypeScript share one ring: ffi/native/nx_ring.h against lib/l1_link/ring.ts. */
import assert from "node:assert/strict";
import * as ring from "../../lib/l1_link/ring.ts";
import { testNeeding } from "../support/needs.ts";
import { C_COMPILER, THREAD_SANITIZER } from "../support/toolchain.ts";
import { consume, ITEM_WORDS, produce } from "./ring_stream.ts";

const COUNT = 3_000_000;

const symbols = {
  peer_start: { parameters: ["buffer", "u64", "u32", "u32"], result: "pointer" },
  // Waits for the native thread, so it must not hold the event loop.
  peer_join: { parameters: ["pointer"], result: "i64", nonblocking: true },
  peer_layout: { parameters: ["u32"], result: "u32" },
} as const;

const SOURCE = new URL("./ring_peer.c", import.meta.url).pathname;
const HEADER = new URL("../../ffi/native/nx_ring.h", import.meta.url).pathname;

async function withDirectory<T>(body: (directory: string) => Promise<T>): Promise<T> {
  const directory = await Deno.makeTempDir({ prefix: "nexus-ring-" });
  try {
    return await body(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Compiles ring_peer.c; the header is taken from `include`. */
async function compile(include: string, output: string, flags: readonly string[]): Promise<void> {
  const { code, stderr } = await new Deno.Command(C_COMPILER.path, {
    args: [
      ...["-std=c17", "-Wall", "-Wextra", "-Werror", "-pthread", `-I${include}`],
      ...flags,
      SOURCE,
      "-o",
      output,
    ],
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

async function withPeer(
  body: (peer: Deno.DynamicLibrary<typeof symbols>["symbols"]) => Promise<void>,
): Promise<void> {
  await withDirectory(async (directory) => {
    const library = `${directory}/peer.so`;
    await compile(HEADER.replace(/\/[^/]*$/, ""), library, ["-O2", "-shared", "-fPIC"]);
    const opened = Deno.dlopen(library, symbols);
    try {
      await body(opened.symbols);
    } finally {
      opened.close();
    }
  });
}

testNeeding([C_COMPILER], "NL-R-001: C and TypeScript agree on the layout of a ring", async () => {
  await withPeer((peer) => {
    const expected = [
      ring.RING_MAGIC_WORD,
      ring.RING_VERSION_WORD,
      ring.RING_CAPACITY_WORD,
      ring.RING_ENTRY_WORDS_WORD,
      ring.RING_TAIL_WORD,
      ring.RING_HEAD_WORD,
      ring.RING_ENTRIES_WORD,
      ring.RING_MAGIC,
      ring.RING_VERSION,
      ring.RING_CAPACITY_MAX,
      ring.RING_ENTRY_WORDS_MAX,
    ];
    assert.deepEqual(expected.map((_, field) => peer.peer_layout(field)), expected);
    return Promise.resolve();
  });
});

testNeeding([C_COMPILER], "NL-R-001: C refuses memory that holds no ring", async () => {
  await withPeer((peer) => {
    const start = (memory: Int32Array, bytes = memory.byteLength) =>
      peer.peer_start(bytesOf(memory), BigInt(bytes), 0, 1);
    assert.equal(start(new Int32Array(new SharedArrayBuffer(4096))), null);
    for (const word of [0, 1, 2, 3]) {
      const memory = ring.createRing(4, 4);
      memory[word] = 0x55;
      assert.equal(start(memory), null, `word ${word}`);
    }
    const memory = ring.createRing(4, 4);
    assert.equal(start(memory, memory.byteLength - 4), null);
    assert.equal(start(memory, 8), null);
    return Promise.resolve();
  });
});

for (const native of ["consumer", "producer"] as const) {
  testNeeding(
    [C_COMPILER],
    `NL-R-001: millions of items pass in order between TypeScript and a native ${native}`,
    async () => {
      await withPeer(async (peer) => {
        const memory = ring.createRing(256, ITEM_WORDS);
        memory[ring.RING_TAIL_WORD] = memory[ring.RING_HEAD_WORD] = -COUNT / 2;
        const handle = peer.peer_start(
          bytesOf(memory),
          BigInt(memory.byteLength),
          native === "consumer" ? 1 : 0,
          COUNT,
        );
        assert.notEqual(handle, null);
        if (native === "consumer") produce(memory, COUNT, 3);
        else assert.equal(consume(memory, COUNT, 3), "");
        assert.equal(await peer.peer_join(handle), -1n);
        // Also keeps the memory alive for as long as the thread needs it.
        assert.equal(Atomics.load(memory, ring.RING_HEAD_WORD), COUNT / 2);
      });
    },
  );
}

/** Runs both ends in C under ThreadSanitizer with a changed header; returns what it reports. */
async function racesWith(change: (header: string) => string): Promise<string> {
  return await withDirectory(async (directory) => {
    await Deno.writeTextFile(`${directory}/nx_ring.h`, change(await Deno.readTextFile(HEADER)));
    const program = `${directory}/both`;
    await compile(directory, program, ["-O1", "-g", "-fsanitize=thread", "-DRING_MAIN"]);
    const { stdout, stderr } = await new Deno.Command(program).output();
    const text = new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout);
    return /data race/.exec(text)?.[0] ?? text.trim();
  });
}

testNeeding(
  [THREAD_SANITIZER],
  "NL-R-001: two native ends of a ring have no data race",
  async () => {
    assert.equal(await racesWith((header) => header), "-1");
  },
);

testNeeding(
  [THREAD_SANITIZER],
  "NL-R-001: without release or acquire a ring of two native ends races",
  async () => {
    for (const order of ["release", "acquire"]) {
      const relaxed = (header: string) =>
        header.replaceAll(`memory_order_${order}`, "memory_order_relaxed");
      assert.equal(await racesWith(relaxed), "data race", order);
    }
  },
);

/** The types know no shared buffers here, FFI does. */
function bytesOf(memory: Int32Array): BufferSource {
  return new Uint8Array(memory.buffer) as BufferSource;
}
