/**
 * What a test needs beyond Deno. A test whose need is missing is left out by name, and the runner
 * (tests/run.ts) prints the line that would enable it. In CI nothing may be left out.
 */

export interface Need {
  readonly name: string;
  /** Whether the machine has it. */
  readonly present: boolean;
  /** One line that brings it. */
  readonly enable: string;
}

/** The compiled binary, for tests that must run without Deno. */
export const COMPILED_BINARY: Need = {
  name: "compiled binary dist/nexus",
  present: exists("dist/nexus"),
  enable: "npx -y deno@2.7.11 task compile",
};

/**
 * Defines a test that runs only where its needs are met. Elsewhere it shows as ignored and the
 * need is written where the runner finds it.
 */
export function testNeeding(
  needs: readonly Need[],
  name: string,
  run: (t: Deno.TestContext) => void | Promise<void>,
): void {
  const missing = needs.filter(({ present }) => !present);
  const report = Deno.env.get("NEXUS_TESTS_LEFT_OUT");
  if (report !== undefined) {
    for (const need of missing) {
      Deno.writeTextFileSync(report, `${name}\t${need.name}\t${need.enable}\n`, { append: true });
    }
  }
  Deno.test({ name, ignore: missing.length > 0, fn: run });
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
