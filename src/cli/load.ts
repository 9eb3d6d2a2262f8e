import { UnderstudyError } from '../errors.js';

/**
 * The heavy part of a command, loaded when the command runs and not before: `understudy status`
 * must not wait for a lab's code.
 *
 * @param path module below dist/src, e.g. `lab/commands.js`
 * @throws US_COMMAND_MISSING when this installation was built without it
 */
export async function load<T>(path: string): Promise<T> {
  const url = new URL(`../${path}`, import.meta.url);
  try {
    return (await import(url.href)) as T;
  } catch (thrown) {
    // A module that is there but lacks something of its own is a defect and told as one.
    if (!isMissing(thrown, url)) throw thrown;
    throw new UnderstudyError({
      code: 'US_COMMAND_MISSING',
      action: 'cannot load',
      object: path,
      cause: 'this installation has no such module',
      remedy: 'from a checkout: npm run build; else install the whole package again',
    });
  }
}

function isMissing(thrown: unknown, url: URL): boolean {
  return (
    thrown instanceof Error &&
    'code' in thrown &&
    thrown.code === 'ERR_MODULE_NOT_FOUND' &&
    'url' in thrown &&
    thrown.url === url.href
  );
}
