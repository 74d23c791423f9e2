/** Needs of tests that run native code. Importing this opens the library before leaks are looked for. */
import { nexusIo, NxFeature } from "../../ffi/nexus_io.ts";
import { openWaker } from "../../ffi/waker.ts";
import type { Need } from "./needs.ts";

const state = nexusIo();
if ("io" in state) openWaker(state.io);

/** libnexus_io, built and openable. */
export const NATIVE_LIBRARY: Need = {
  name: "native library libnexus_io",
  present: "io" in state,
  enable: "deno task build",
};

/** The library with a feature that another package brings. */
export function nativeFeature(name: keyof typeof NxFeature, aptPackage: string): Need {
  return {
    name: `native ${name}`,
    present: "io" in state && (state.features & NxFeature[name]) !== 0,
    enable: `apt-get install -y ${aptPackage} && deno task build`,
  };
}

/** CRC-32C and Reed-Solomon by ISA-L. */
export const NATIVE_ISAL = nativeFeature("CRC32C", "libisal-dev");
/** AEAD by intel-ipsec-mb. */
export const NATIVE_IMB = nativeFeature("AEAD_IMB", "libipsec-mb-dev");
/** AEAD by libcrypto. */
export const NATIVE_EVP = nativeFeature("AEAD_EVP", "libssl-dev");
