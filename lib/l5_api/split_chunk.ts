/**
 * Cuts a chunk that is too large for one message of an RU stream. Every receiver takes messages of
 * 65,536 bytes (docs/protocol.md §5.2); tokens are far smaller, but a provider may hand over a
 * whole answer, or all arguments of a tool call, at once.
 */
import type { ChunkFields } from "./messages/token_stream_chunk.ts";

/** Characters of one piece: at 3 bytes of UTF-8 each, 48 KiB, the rest is for the fields. */
export const PIECE_CHARS_MAX = 16_384;

/** The chunk as pieces that concatenate to it; usually the chunk itself. */
export function splitChunk(chunk: ChunkFields): ChunkFields[] {
  if (isSmall(chunk)) return [chunk];
  const { index, role, finishReason, extraJson } = chunk;
  const pieces: ChunkFields[] = [];
  for (const text of cut(chunk.text)) pieces.push({ index, text, toolCalls: [] });
  for (const call of chunk.toolCalls) {
    const [first = "", ...others] = cut(call.arguments);
    pieces.push({ index, text: "", toolCalls: [{ ...call, arguments: first }] });
    for (const more of others) {
      pieces.push({
        index,
        text: "",
        toolCalls: [{ index: call.index, arguments: more }],
      });
    }
  }
  if (extraJson !== undefined || pieces.length === 0) {
    pieces.push({ index, text: "", toolCalls: [], extraJson });
  }
  pieces[0].role = role;
  pieces[pieces.length - 1].finishReason = finishReason;
  return pieces;
}

function isSmall(chunk: ChunkFields): boolean {
  let chars = chunk.text.length + (chunk.extraJson?.length ?? 0);
  for (const call of chunk.toolCalls) {
    // 32: what a tool call takes beside its texts, at a third of the bytes
    chars += 32 + call.arguments.length + (call.id?.length ?? 0) + (call.name?.length ?? 0);
  }
  return chars <= PIECE_CHARS_MAX;
}

/** Pieces of at most PIECE_CHARS_MAX that do not split a surrogate pair. */
function cut(text: string): string[] {
  const pieces: string[] = [];
  for (let from = 0; from < text.length;) {
    let to = Math.min(text.length, from + PIECE_CHARS_MAX);
    const last = text.charCodeAt(to - 1);
    if (to < text.length && last >= 0xd800 && last < 0xdc00) to--;
    pieces.push(text.slice(from, to));
    from = to;
  }
  return pieces;
}
