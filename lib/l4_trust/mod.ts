/**
 * L4 nextrust: who a node is, how two nodes prove it to each other, and the records that follow.
 * Everything takes a `CryptoEngine`; nothing here reads a clock or makes randomness.
 */
export * from "./engine.ts";
export { nobleEngine } from "./noble.ts";
export { hkdfExpand, hkdfExtract } from "./hkdf.ts";
export * from "./identity.ts";
export {
  type BenchmarkClaim,
  CLAIM,
  type MicClaims,
  MODEL_NAME_BYTES_MAX as CLAIM_MODEL_NAME_BYTES_MAX,
  nodeNameClaim,
  nodeNameOf,
  type PublisherClaim,
} from "./mic/claims.ts";
export { EXTENSION, type MicExtensions, type NodeRole } from "./mic/extensions.ts";
export * from "./mic/mic.ts";
export {
  CHAIN_LENGTH_MAX,
  type ChainPolicy,
  decodeChain,
  encodeChain,
  type VerifiedMic,
  verifyChain,
  verifySelfSigned,
} from "./mic/chain.ts";
export {
  ANY_MODEL_NAME,
  checkRequirements,
  type MicRequirements,
  requirementsOfSad,
} from "./mic/requirements.ts";
export { createCsr, type Csr, CSR_BYTES_MAX, verifyCsr } from "./csr.ts";
export {
  CertificateAuthority,
  type IssueOptions,
  MIC_LIFE_S,
  renewalTimeS,
  ROOT_LIFE_S,
  ROOT_PATH_LENGTH,
  type RootOptions,
} from "./ca.ts";
export {
  checkInviteTime,
  decodeInvite,
  encodeInvite,
  type Invite,
  INVITE_ID_BYTES,
  INVITE_SECRET_BYTES,
  INVITE_SEEDS_MAX,
  inviteProof,
  type InviteSeed,
} from "./invite.ts";
export { advertVerifier } from "./advert.ts";
export type { HandshakeConfig, HandshakeResult } from "./handshake/config.ts";
export {
  HANDSHAKE_MESSAGE,
  type IncomingMessage,
  type OutgoingMessage,
  readMessage,
} from "./handshake/message.ts";
export { helloKeyOf } from "./handshake/hello.ts";
export { ALERT, alertError } from "./handshake/alert.ts";
export {
  AMPLIFICATION_MAX,
  HANDSHAKE_TIMEOUT_US,
  HELLO_FRAME_BYTES_MIN,
  RETRANSMIT_US,
  RETRANSMIT_US_MAX,
} from "./handshake/limits.ts";
export { ClientHandshake, type ClientHandshakeOptions } from "./handshake/client.ts";
export { HELLO_DROP, type HelloDrop, ServerHandshake } from "./handshake/server.ts";
export { recoverPacketNumber, REPLAY_WINDOW, ReplayWindow } from "./records/replay_window.ts";
export {
  FORGERIES_MAX,
  KEY_PHASE_FIRST,
  type RecordKeys,
  RecordProtection,
  SEALS_MAX,
} from "./records/protection.ts";
