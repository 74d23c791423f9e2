/** Certificates and invites. */
import { z } from "zod";
import { NodeIdText, Sha256Text } from "./common.ts";

/** A certificate (MIC) in words; what a person checks before trusting a node. */
export const CertificateSummary = z.object({
  serial: Sha256Text,
  nodeId: NodeIdText,
  publicKey: z.string().regex(/^[0-9a-f]{64}$/).meta({ description: "Ed25519 key, hex" }),
  fingerprint: Sha256Text.meta({ description: "SHA-256 of the public key" }),
  issuerNodeId: NodeIdText,
  notBeforeS: z.number().int().meta({ description: "Unix seconds" }),
  notAfterS: z.number().int().meta({ description: "Unix seconds" }),
  role: z.enum(["node", "client", "ca", "unknown"]),
  vni: z.number().int().optional().meta({ description: "Tenant network it is bound to" }),
  capabilities: z.array(z.string()),
  context: z.number().int().optional().meta({ description: "Context window in tokens" }),
  models: z.array(z.string()),
  bytes: z.number().int().meta({ description: "Encoded size" }),
}).meta({ id: "Certificate" });
export type CertificateSummary = z.infer<typeof CertificateSummary>;

/** `GET /api/v1/trust/mic`: this node's chain, leaf first, root last. */
export const TrustMic = z.object({
  chain: z.array(CertificateSummary),
  encoded: z.array(z.string()).meta({ description: "The same certificates, base64url" }),
  roots: z.array(Sha256Text).meta({ description: "Fingerprints of the roots this node trusts" }),
}).meta({ id: "TrustMic" });
export type TrustMic = z.infer<typeof TrustMic>;

/** Longest life of an invite: a month. */
export const INVITE_LIFE_S_MAX = 30 * 86_400;
/** Most uses of one invite. */
export const INVITE_USES_MAX = 10_000;

/** `POST /api/v1/invites`; an empty body means one use within an hour. */
export const InviteRequest = z.strictObject({
  uses: z.number().int().min(1).max(INVITE_USES_MAX).default(1),
  lifeS: z.number().int().min(1).max(INVITE_LIFE_S_MAX).default(3600),
}).meta({ id: "InviteRequest" });
export type InviteRequest = z.infer<typeof InviteRequest>;

/** The token is shown once; the node keeps only what it needs to check it. */
export const Invite = z.object({
  token: z.string().meta({ description: "Secret: whoever has it may join" }),
  id: z.string().meta({ description: "Invite id, hex" }),
  expiresS: z.number().int().meta({ description: "Unix seconds" }),
  uses: z.number().int(),
}).meta({ id: "Invite" });
export type Invite = z.infer<typeof Invite>;
