import { statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Of `other` users: a health check runs as nobody. */
const mayEnter = 0o001;

/** Why the program of a health check could not be run on this machine; undefined: it can. */
export function scriptTrouble(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return 'it is not there';
  if (!found.isFile()) return 'it is no file';
  if ((found.mode & mayEnter) === 0) return 'others may not execute it, and it is run as nobody';
  for (let folder = dirname(path); folder !== '/'; folder = dirname(folder)) {
    if ((statSync(folder).mode & mayEnter) === 0)
      return `others may not enter ${folder}, and it is run as nobody`;
  }
  return undefined;
}
