import { type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { type ScriptUser, scriptUser, type UserFiles } from './script-user.js';

/** Why the program of a health check could not be run on this machine; undefined: it can. */
export function scriptTrouble(
  path: string,
  userName?: string,
  files?: UserFiles,
): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return 'it is not there';
  if (!found.isFile()) return 'it is no file';
  const user = scriptUser(userName, files);
  if (typeof user === 'string') return user;
  if (!mayEnter(user, found)) return `${user.name}, whom it is run as, may not execute it`;
  for (let folder = dirname(path); folder !== '/'; folder = dirname(folder)) {
    if (!mayEnter(user, statSync(folder)))
      return `${user.name}, whom it is run as, may not enter ${folder}`;
  }
  return undefined;
}

/** By the mode alone (path_resolution(7)): the first class that it is in counts. */
function mayEnter({ uid, gid, groups }: ScriptUser, { mode, uid: owner, gid: group }: Stats) {
  const shift = uid === owner ? 6 : [gid, ...groups].includes(group) ? 3 : 0;
  return ((mode >> shift) & 0o001) !== 0;
}
