import assert from "node:assert/strict";
import { linkTypeScript } from "../../schemas/generate.ts";

Deno.test("NL-F-001: lib/l1_link/gen/link.ts is what schemas/link.json says", async () => {
  const path = new URL("../../lib/l1_link/gen/link.ts", import.meta.url);
  assert.equal(await Deno.readTextFile(path), linkTypeScript());
});
