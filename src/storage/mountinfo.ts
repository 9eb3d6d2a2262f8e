import { readFile } from 'node:fs/promises';

/** One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)). */
export interface Mount {
  /** `major:minor` of what is mounted. */
  readonly device: string;
  readonly mountPoint: string;
  readonly type: string;
  readonly source: string;
}

/** Pure. Blanks and backslashes in paths come as octal escapes. */
export function parseMountinfo(text: string): readonly Mount[] {
  return text.split('\n').flatMap((line) => {
    const [left = '', right = ''] = line.split(' - ');
    const fields = left.split(' ');
    const [type = '', source = ''] = right.split(' ');
    const device = fields[2];
    const mountPoint = fields[4];
    if (device === undefined || mountPoint === undefined) return [];
    return [{ device, mountPoint: plain(mountPoint), type, source: plain(source) }];
  });
}

function plain(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_all, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** Mounts of a process, default this one; empty for one that has ended. */
export async function mounts(pid: number | 'self' = 'self'): Promise<readonly Mount[]> {
  const text = await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch((thrown: unknown) => {
    if (pid === 'self') throw thrown;
    return '';
  });
  return parseMountinfo(text);
}
