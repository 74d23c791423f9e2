/** Colours of a terminal (ECMA-48 SGR). Without a terminal every function returns its text. */

/** Marks text. */
export type Mark = (text: string) => string;

/** The few marks that the CLI uses. */
export interface Paint {
  readonly bold: Mark;
  readonly dim: Mark;
  readonly green: Mark;
  readonly yellow: Mark;
  readonly red: Mark;
  readonly cyan: Mark;
}

const plain: Mark = (text) => text;
const sgr = (code: number, end: number): Mark => (text) =>
  text === "" ? "" : `\x1b[${code}m${text}\x1b[${end}m`;

/** No colour. */
export const PLAIN: Paint = {
  bold: plain,
  dim: plain,
  green: plain,
  yellow: plain,
  red: plain,
  cyan: plain,
};

/** Colour. */
export const COLOURED: Paint = {
  bold: sgr(1, 22),
  dim: sgr(2, 22),
  green: sgr(32, 39),
  yellow: sgr(33, 39),
  red: sgr(31, 39),
  cyan: sgr(36, 39),
};

/** Colour on a terminal that can, unless it is not wanted (no-color.org). */
export function choosePaint(
  isTerminal: boolean,
  wanted: boolean,
  env: (name: string) => string | undefined,
): Paint {
  const able = isTerminal && env("TERM") !== "dumb";
  return able && wanted && env("NO_COLOR") === undefined ? COLOURED : PLAIN;
}
