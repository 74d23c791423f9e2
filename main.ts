/** argv → command; nothing more. */
import { type Handlers, runCli } from "./lib/ctl/mod.ts";
import { PROTOCOL_VERSION, VERSION } from "./lib/node/version.ts";

/** What a node needs; the same as the tasks list. */
const PERMISSIONS = ["net", "read", "write", "env", "sys", "ffi"].map((name) => `--allow-${name}`);

const handlers: Handlers = {
  version: VERSION,
  protocol: PROTOCOL_VERSION,
  self: Deno.build.standalone
    ? [Deno.execPath()]
    : [Deno.execPath(), "run", "--quiet", "--no-prompt", ...PERMISSIONS, import.meta.url],
  // A node is loaded when one is to run: `nexus version` must not wait for it.
  async runNode(options) {
    const { runNode } = await import("./lib/node/mod.ts");
    return await runNode(options);
  },
  async isConfigMistake(error) {
    const { isConfigMistake } = await import("./lib/node/mod.ts");
    return isConfigMistake(error);
  },
  async checkConfig({ configFile, overrides, flagNames }) {
    const { findConfigFile, loadConfig, withoutSecrets } = await import("./lib/node/mod.ts");
    const env = Deno.env.toObject();
    const file = configFile ?? findConfigFile(env);
    const { config, warnings } = loadConfig({ file, env, overrides, flagNames });
    return { file, config: { ...withoutSecrets(config) }, warnings };
  },
};

if (import.meta.main) Deno.exit(await runCli(Deno.args, handlers));
