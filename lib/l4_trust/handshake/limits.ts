/** Constants of the handshake; the first three are the protocol's (protocol.md §4.1). */

/** First retransmission after this long; doubles up to RETRANSMIT_US_MAX. */
export const RETRANSMIT_US = 250_000;
/**
 * Longest wait between two retransmissions. With it a message is sent eleven times within the
 * deadline, so that three frames each lost at 30 % still fail less than once in a thousand.
 */
export const RETRANSMIT_US_MAX = 500_000;
/** A handshake ends after this long, on both sides. */
export const HANDSHAKE_TIMEOUT_US = 5_000_000;
/** Bytes of the frame that carries HELLO, at least: pays for the ACCEPT. */
export const HELLO_FRAME_BYTES_MIN = 1_200;
/** A server sends at most this many times the bytes it received from an unproven address. */
export const AMPLIFICATION_MAX = 3;
/** Largest message that fragments can carry (protocol.md §2.2). */
export const MESSAGE_BYTES_MAX = 16_384;
/**
 * After a refused ACCEPT the client waits this long for a valid one: somebody who only sees the
 * HELLO cannot end the attempt by answering first.
 */
export const REFUSAL_GRACE_US = 2_000_000;
/** ACCEPTs that a client runs a key agreement for in one attempt; bounds work, not correctness. */
export const ACCEPT_TRIES_MAX = 8;
/** Suites that a server reads from a HELLO; the rest of a longer list is not looked at. */
export const SUITES_READ_MAX = 16;
