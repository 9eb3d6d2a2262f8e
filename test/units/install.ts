import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const script = new URL('../../../scripts/install', import.meta.url).pathname;

/** `scripts/install` into a folder instead of this machine. */
export async function install(destination: string, ...options: readonly string[]): Promise<void> {
  const env = { ...process.env, DESTDIR: destination, NODE: process.execPath };
  await promisify(execFile)('bash', [script, ...options], { env });
}
