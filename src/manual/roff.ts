/**
 * Running text for man(7): what is special to roff is escaped, `code` and **words** become bold.
 * A hyphen within code is a minus sign (groff_char(7)), so that it can be pasted into a shell.
 */
export function roffText(markdown: string): string {
  const linked = markdown.replace(/\[([^\]]+)\]\(([^)\s]+)\)/g, (_all, text: string) => text);
  const parts = linked.split(/(`[^`]+`|\*\*[^*]+\*\*)/);
  const text = parts
    .map((part) => {
      if (part.startsWith('`')) return bold(breakable(roffCode(part.slice(1, -1))));
      if (part.startsWith('**')) return bold(roffPlain(part.slice(2, -2)));
      return roffPlain(part);
    })
    .join('');
  return guarded(text);
}

/** Lines of code, as they are. */
export function roffBlock(lines: readonly string[]): string {
  return lines.map((line) => guarded(roffCode(line))).join('\n');
}

/** A word of a request's line (`.TH`, `.SH`): quotation marks inside are doubled. */
export function roffWord(text: string): string {
  return `"${roffPlain(text).replaceAll('"', '""')}"`;
}

export function roffCode(text: string): string {
  return roffPlain(text).replaceAll('-', '\\-');
}

function roffPlain(text: string): string {
  return text.replaceAll('\\', '\\e').replaceAll('`', '\\(ga').replaceAll("'", '\\(aq');
}

/** JSON has no blanks to break a line at; behind a comma it may be broken, with nothing added. */
const breakable = (code: string): string => code.replaceAll(/,(?=\S)/g, ',\\:');

const bold = (text: string): string => `\\fB${text}\\fR`;

/** A line that begins with a dot or an apostrophe is a request. */
const guarded = (line: string): string => (/^[.']/.test(line) ? `\\&${line}` : line);
