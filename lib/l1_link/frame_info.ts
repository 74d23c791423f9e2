/** What a decoded frame is, as numbers: one object serves any number of frames. */

/**
 * Decode target. Offsets count from the start of the `bytes` that were decoded; -1 means that the
 * option is absent. Nothing here is valid unless decodeFrame returned OK.
 */
export class FrameInfo {
  /** Where the frame starts. */
  offset = 0;
  /** Whole frame, CRC included. */
  length = 0;
  /** Bits of Flag; reserved bits read as 0. */
  flags = 0;
  /** A FrameType. */
  type = 0;
  streamId = 0;
  sequence = 0;
  priority = 0;
  qos = 0;
  tensorDtype = 0;
  hopLimit = 0;
  keyPhase = 0;
  tensorAlignment = 0;
  optionsLength = 0;
  /** Upper and lower half of the nanoseconds since the Unix epoch. */
  timestampHigh = 0;
  timestampLow = 0;
  payloadOffset = 0;
  payloadLength = 0;
  /** The 16-byte value of ENCRYPTION_TAG. */
  tagOffset = -1;
  /** FRAGMENT_INFO: byte offset in the message and number of fragments; total 0 = no such option. */
  fragmentOffset = 0;
  fragmentTotal = 0;
  /** COMPRESSION_ALG, 0 = no such option. */
  compression = 0;
  /** The value of TENSOR_SHAPE (the dimension count, then the dimensions). */
  shapeOffset = -1;
  traceOffset = -1;
  hopCountOffset = -1;
  semanticOffset = -1;
  semanticLength = 0;
  gpuHintOffset = -1;
}
