import { readFileSync } from 'node:fs';

/** The status page's own files; scripts/build puts them beside this one. */
export interface PageFile {
  readonly path: string;
  readonly type: string;
  readonly content: string;
}

const files = [
  ['/page', 'index.html', 'text/html; charset=utf-8'],
  ['/page/status.css', 'status.css', 'text/css; charset=utf-8'],
  ['/page/status.js', 'status.js', 'text/javascript; charset=utf-8'],
] as const;

/** Read once: a page that is asked for a thousand times reads no disk. */
export function pageFiles(): readonly PageFile[] {
  return files.map(([path, name, type]) => ({
    path,
    type,
    content: readFileSync(new URL(`./page/${name}`, import.meta.url), 'utf8'),
  }));
}

/**
 * Nothing from elsewhere, nothing inline, no frame around it: whatever a name or a reason from the
 * cluster holds, it stays text (Content Security Policy Level 3).
 */
export const pageHeaders: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
};
