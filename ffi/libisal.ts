/**
 * libisal, which libnexus_io needs. Debian has no static archive of it, so the build puts a copy
 * beside our library; opened first, it is found by its SONAME, in the compiled binary too.
 */
import { builtFile, openLibrary } from "./locate.ts";

/** The name that libnexus_io asks the loader for. */
export const ISAL_SONAME = "libisal.so.2";

/** Opens the copy, else the system's. Says why when there is neither. */
export function openIsal(): string | undefined {
  const copy = openLibrary(builtFile(ISAL_SONAME), {});
  if (!("unavailable" in copy)) return undefined;
  const system = openLibrary(ISAL_SONAME, {});
  return "unavailable" in system ? system.unavailable : undefined;
}
