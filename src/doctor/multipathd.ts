import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { messageOf } from '../errors.js';

const main = '/etc/multipath.conf';
const more = '/etc/multipath/conf.d';

/** How multipathd, where it runs, is told to claim disks; undefined: it claims what it was told of alone. */
export function multipathdClaims(): string | undefined {
  if (!existsSync('/run/multipathd.pid')) return undefined;
  try {
    const folder = existsSync(more) ? readdirSync(more).sort() : [];
    const files = [main, ...folder.map((name) => `${more}/${name}`)].filter((path) =>
      existsSync(path),
    );
    return claiming(files.map((path) => readFileSync(path, 'utf8')).join('\n'));
  } catch (thrown) {
    return messageOf(thrown);
  }
}

/** Pure: the last `find_multipaths` of its configuration that is not Debian's own choice, strict. */
export function claiming(configuration: string): string | undefined {
  const said = [...configuration.matchAll(/^\s*find_multipaths\s+"?(\w+)"?/gm)].at(-1)?.[1];
  return said === undefined || said === 'strict' ? undefined : `find_multipaths ${said}`;
}
