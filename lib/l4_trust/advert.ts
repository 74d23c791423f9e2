/** The verifier that routing needs for advertisements (protocol.md §7). */
import { NexusError } from "../base/mod.ts";
import type { AdvertVerifier } from "../l2_route/mod.ts";
import { SIGN_CONTEXT, verifySignature } from "./identity.ts";
import { type ChainPolicy, decodeChain, verifyChain } from "./mic/chain.ts";
import { ROLE_CODES } from "./mic/extensions.ts";

/**
 * Checks an advertisement's chain and the leaf's signature. `policy` is read at each call, so its
 * roots may change.
 */
export function advertVerifier(policy: Omit<ChainPolicy, "unixS">): AdvertVerifier {
  return {
    verify(chain, context, content, signature, unixS) {
      const { roots, vni, engine } = policy;
      const mic = verifyChain(decodeChain(chain), { roots, vni, engine, unixS });
      const advertisement = SIGN_CONTEXT.advertisement;
      if (
        context !== advertisement ||
        !verifySignature(engine, mic.publicKey, advertisement, content, signature)
      ) {
        throw new NexusError(
          "BAD_SIGNATURE",
          "cannot accept advertisement: its signature is not by the key of its certificate",
        );
      }
      return {
        nodeId: mic.nodeId,
        role: mic.role === undefined ? 0 : ROLE_CODES[mic.role],
        capabilities: mic.leaf.claims.capabilities,
      };
    },
  };
}
