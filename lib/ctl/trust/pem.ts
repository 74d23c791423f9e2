/** Textual armour of binary files (RFC 7468 §2): base64 between BEGIN and END lines. */
import { NexusError } from "../../base/mod.ts";

/** RFC 7468 §2: generators wrap at 64 characters. */
const LINE_CHARS = 64;

/** One block. */
export function encodePem(label: string, bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  const lines = btoa(binary).match(new RegExp(`.{1,${LINE_CHARS}}`, "g")) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** The content of each block with this label; text around blocks is ignored, as the RFC says. */
export function decodePem(text: string, label: string): Uint8Array<ArrayBuffer>[] {
  const block = new RegExp(`-----BEGIN ${label}-----([^-]*)-----END ${label}-----`, "g");
  return [...text.matchAll(block)].map(([, body]) => {
    try {
      return Uint8Array.from(atob(body.replace(/\s/g, "")), (char) => char.charCodeAt(0));
    } catch {
      throw new NexusError("MALFORMED", `cannot read ${label.toLowerCase()}: it is no base64`);
    }
  });
}
