import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';

/** Loaded, built in, or to be loaded. */
export function hasModule(name: string): boolean {
  if (existsSync(`/sys/module/${name}`)) return true;
  const file = new RegExp(`/${name.replaceAll('_', '[_-]')}\\.ko`);
  return ['modules.dep', 'modules.builtin'].some((list) => {
    const path = `/lib/modules/${release()}/${list}`;
    return existsSync(path) && file.test(readFileSync(path, 'utf8'));
  });
}
