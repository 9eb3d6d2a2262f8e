import { readFileSync } from 'node:fs';
import { messageOf } from '../errors.js';

/** Whom a health check runs as. */
export interface ScriptUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** Beside `gid`. */
  readonly groups: readonly number[];
}

export interface UserFiles {
  readonly passwd: string;
  readonly group: string;
}

const system: UserFiles = { passwd: '/etc/passwd', group: '/etc/group' };
/** By number: Debian and Fedora name the group differently. */
const nobody: ScriptUser = { name: 'nobody', uid: 65_534, gid: 65_534, groups: [] };
/** NGROUPS_MAX of older kernels; who is in more is in too many for a check. */
const mostGroups = 32;

/**
 * A user of this host by its own files (passwd(5), group(5)): a directory service that hangs must not hold a check
 * up, and root is none.
 *
 * @returns why there is no such user, or why it may not be one
 */
export function scriptUser(
  name: string | undefined,
  files: UserFiles = system,
): ScriptUser | string {
  if (name === undefined) return nobody;
  try {
    const fields = linesOf(files.passwd).find(([own]) => own === name);
    if (fields === undefined) return `there is no user ${name} in ${files.passwd}`;
    const [uid, gid] = [idOf(fields[2]), idOf(fields[3])];
    if (uid === undefined || gid === undefined)
      return `user ${name} is not in order in ${files.passwd}`;
    if (uid === 0 || gid === 0) return `user ${name} is root, or in root’s group`;
    const groups = linesOf(files.group)
      .filter(([, , , members = '']) => members.split(',').includes(name))
      .flatMap(([, , id]) => idOf(id) ?? [])
      .filter((id) => id !== 0 && id !== gid);
    if (groups.length > mostGroups) return `user ${name} is in more than ${mostGroups} groups`;
    return { name, uid, gid, groups };
  } catch (thrown) {
    return messageOf(thrown);
  }
}

function linesOf(path: string): readonly (readonly string[])[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
}

/** All ones is none (chown(2)). */
function idOf(text = ''): number | undefined {
  const id = Number(text);
  return /^\d{1,10}$/.test(text) && id < 2 ** 32 - 1 ? id : undefined;
}
