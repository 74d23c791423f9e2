/**
 * Writes the constants of the wire from schemas/*.json, so that no offset stands in two places.
 *
 *     deno run --allow-read --allow-write schemas/generate.ts          # write
 *     deno run --allow-read schemas/generate.ts --check                # exit 1 when stale
 */
import { linkC } from "./link_c.ts";
import { linkP4 } from "./link_p4.ts";
import { linkTypeScript } from "./link_typescript.ts";

/** Every generated file: where it stands and what must stand in it. */
export const outputs: readonly { readonly path: string; readonly text: string }[] = [
  { path: "lib/l1_link/gen/link.ts", text: linkTypeScript() },
  { path: "ffi/native/gen/nx_link.h", text: linkC() },
  { path: "bpf/gen/nx_link.h", text: linkC() },
  { path: "p4/gen/nexlink.p4", text: linkP4() },
];

if (import.meta.main) {
  const root = new URL("../", import.meta.url);
  let stale = false;
  for (const { path, text } of outputs) {
    const url = new URL(path, root);
    if (Deno.args.includes("--check")) {
      if (await Deno.readTextFile(url).catch(() => "") === text) continue;
      console.error(`${path} is not what schemas/*.json say: run schemas/generate.ts`);
      stale = true;
    } else {
      await Deno.mkdir(new URL("./", url), { recursive: true });
      await Deno.writeTextFile(url, text);
      console.log(`wrote ${path}`);
    }
  }
  if (stale) Deno.exit(1);
}
