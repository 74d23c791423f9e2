/** A result and its forms: for people, for programs, for shell loops. */
import { usageError } from "../exit.ts";
import type { Paint } from "./paint.ts";

/** Forms of `-o`. */
export const OUTPUTS = ["table", "wide", "json", "yaml", "name"] as const;
export type Output = typeof OUTPUTS[number];

/** What a command found. */
export interface View {
  /** JSON and YAML show this as it is. */
  readonly data: unknown;
  /** For people; ends with a line feed. */
  table(options: { wide: boolean; paint: Paint; width?: number }): string;
  /** One word for each thing, for `-o name`. */
  names?(): readonly string[];
}

/** The text of a view. A table keeps to `width` where it can, unless it is to be wide. */
export async function formatView(
  view: View,
  output: Output,
  paint: Paint,
  width?: number,
): Promise<string> {
  switch (output) {
    case "table":
      return view.table({ wide: false, paint, width });
    case "wide":
      return view.table({ wide: true, paint });
    case "json":
      return JSON.stringify(view.data, null, 2) + "\n";
    case "yaml": {
      const { stringify } = await import("yaml");
      // Through JSON, so that both forms have the same keys (undefined ones left out).
      return stringify(JSON.parse(JSON.stringify(view.data)), { lineWidth: 0 });
    }
    case "name":
      if (view.names === undefined) {
        throw usageError("cannot print names: this command has none", "use -o table, json or yaml");
      }
      return view.names().map((name) => name + "\n").join("");
  }
}
