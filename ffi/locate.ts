/**
 * Where libraries lie and how they are opened. `deno task build` puts them into ffi/native/build;
 * `deno compile` embeds that folder at the same place, and the runtime extracts a library when it
 * is opened. A library that cannot be opened is a reason in words, never an exception.
 */

/** A library, or why it cannot be used. */
export type Opened<Symbols extends Deno.ForeignLibraryInterface> =
  | { readonly symbols: Deno.DynamicLibrary<Symbols>["symbols"] }
  | { readonly unavailable: string };

/** The path of a file that the build made. */
export function builtFile(name: string): string {
  return new URL(`./native/build/${name}`, import.meta.url).pathname;
}

/** Opens a library at a path or by the name the system knows. */
export function openLibrary<const Symbols extends Deno.ForeignLibraryInterface>(
  path: string,
  symbols: Symbols,
): Opened<Symbols> {
  if (Deno.build.os !== "linux") return { unavailable: `${Deno.build.os} is not Linux` };
  // Asked first, so that no permission prompt interrupts a program that can do without.
  if (Deno.permissions.querySync({ name: "ffi", path }).state !== "granted") {
    return { unavailable: "there is no permission to call native code (--allow-ffi)" };
  }
  if (path.startsWith("/") && !exists(path)) {
    return { unavailable: `${path} is missing (deno task build makes it)` };
  }
  try {
    return { symbols: Deno.dlopen(path, symbols).symbols };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { unavailable: `${path} cannot be opened: ${reason.replaceAll("\n", " ")}` };
  }
}

/** A file we may not look at may still be there: then opening it tells. */
function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    return !(error instanceof Deno.errors.NotFound);
  }
}
