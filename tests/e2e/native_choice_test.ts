/** Which port and which record engine a node takes, why, and that its log says so. */
import assert from "node:assert/strict";
import { nativeAeadLibraries } from "../../lib/io/native_aead.ts";
import { udpNativeUnavailable } from "../../lib/io/udp_native_port.ts";
import { cli, on } from "./cli.ts";
import { e2e, type NodeProcess, until } from "./harness.ts";

// Asked before the tests: it opens the library, which stays open.
const UNAVAILABLE = udpNativeUnavailable();
const LIBRARIES = nativeAeadLibraries();

const PORTABLE = { port: "udp", records: "portable" };
const MODEL = { name: "echo", capabilities: ["text_gen"], context: "8k", answer: "echo" };

/** What a node logged under this message, as a record. */
async function logged(node: NodeProcess, message: string): Promise<Record<string, string>> {
  const mark = `"message":"${message}"`;
  const line = await until(
    `the log line of ${message}`,
    () => node.stderr.split("\n").find((each) => each.includes(mark) && each.endsWith("}")),
  );
  return JSON.parse(line);
}

const port = (node: NodeProcess) => logged(node, "mesh port is open");
const records = (node: NodeProcess) => logged(node, "record engine is chosen");

e2e(
  "a node logs which port and record engine it takes and why; config and --port fix them",
  async (stage, t) => {
    const portable = await stage.start("portable", {
      link: PORTABLE,
      providers: [{ type: "embedded", models: [MODEL] }],
    });
    const best = await stage.start("best", { mesh: { join: portable.invite } });

    await t.step("what config asks for", async () => {
      const { kind, reason, pages } = await port(portable);
      assert.deepEqual([kind, reason], ["udp", "asked for"]);
      assert.match(pages, /plain|huge|hugetlb/);
      const { engine, reason: why } = await records(portable);
      assert.deepEqual([engine, why], ["node:crypto", "asked for"]);
    });
    await t.step("otherwise the best that runs here", async () => {
      const { kind, reason } = await port(best);
      assert.equal(kind, UNAVAILABLE === undefined ? "udp-native" : "udp");
      assert.equal(
        reason,
        UNAVAILABLE ?? "the native library is there: trains by segmentation " +
            "offload, ECN",
      );
      const { engine, reason: why } = await records(best);
      assert.ok(
        LIBRARIES.length === 0
          ? engine === "node:crypto"
          : LIBRARIES.some((each) => each === engine),
      );
      assert.notEqual(why, "asked for");
      assert.deepEqual((await best.adminJson("/api/v1/node")).port, { kind, reason });
    });
    await t.step("--port goes before config", async () => {
      const link = { port: "auto", records: "portable" };
      assert.equal((await port(await stage.start("flag", { link }, "--port", "udp"))).kind, "udp");
    });
    await t.step("each record library by its name", async () => {
      for (const name of LIBRARIES) {
        const node = await stage.start(name, { link: { records: name } });
        const { engine, reason } = await records(node);
        assert.deepEqual([engine, reason], [name, "asked for"]);
      }
    });
    await t.step("portable and best understand each other", async () => {
      await best.knows("echo");
      assert.equal(await cli(on(best, "infer", "cap=text_gen", "well met")), "well met\n");
    });
  },
);
