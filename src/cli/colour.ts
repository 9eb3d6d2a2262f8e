/**
 * Colour on a terminal only, and not where NO_COLOR is set (no-color.org) or TERM is `dumb`. The basic
 * colours alone: they are chosen by the terminal, so they are legible on dark and light ones.
 */
export function mayColour(
  stream: { readonly isTTY?: boolean },
  environment: Readonly<Record<string, string | undefined>>,
): boolean {
  const { NO_COLOR: no = '', TERM: terminal } = environment;
  return stream.isTTY === true && no === '' && terminal !== 'dumb';
}

const on = mayColour(process.stdout, process.env);

const painted = (code: number, end: number) => (text: string) =>
  on ? `\x1b[${code}m${text}\x1b[${end}m` : text;

export const colour = {
  bold: painted(1, 22),
  dim: painted(2, 22),
  red: painted(31, 39),
  green: painted(32, 39),
  yellow: painted(33, 39),
};

const escapes = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');

/** Columns that a text takes on a terminal. */
export function widthOf(text: string): number {
  return text.replace(escapes, '').length;
}
