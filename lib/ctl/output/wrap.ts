/** Text in lines of a width. Width is counted in code points; wide scripts are not two. */

/** Cells that a text takes on a terminal. */
export function widthOf(text: string): number {
  return [...text].length;
}

/** The text, or its start and "…" when it is wider. */
export function cut(text: string, width: number): string {
  const chars = [...text];
  return chars.length <= width ? text : chars.slice(0, Math.max(0, width - 1)).join("") + "…";
}

/**
 * Lines of at most `width`, broken at blanks. A word that is wider by itself is broken behind
 * "+" and "," (lists of capabilities, terms of a SAD), and stays too wide when it has none.
 */
export function wrapWords(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const [word] of text.matchAll(/\s*\S+/g)) {
    if (widthOf(line) + widthOf(word) <= width) {
      line += word;
      continue;
    }
    if (line !== "") lines.push(line);
    line = "";
    const bare = word.trimStart();
    const parts = widthOf(bare) <= width ? [bare] : bare.split(/(?<=[+,])/);
    for (const part of parts) {
      if (line !== "" && widthOf(line) + widthOf(part) > width) {
        lines.push(line);
        line = "";
      }
      line += part;
    }
  }
  if (line !== "" || lines.length === 0) lines.push(line);
  return lines;
}
