import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { UnderstudyError } from '../../errors.js';
import { collect } from '../shell.js';

/** What a lab's virtual machines boot, made by scripts/vm-image. */
export interface VmImage {
  readonly disk: string;
  readonly kernel: string;
  readonly initrd: string;
}

const script = new URL('../../../../scripts/vm-image', import.meta.url).pathname;

/**
 * The image with this checkout's package; made when there is none of this build, which takes half a minute,
 * the first time on a machine some minutes.
 *
 * @throws {UnderstudyError} US_LAB_IMAGE with the script's last words
 */
export async function vmImage(signal: AbortSignal): Promise<VmImage> {
  const child = spawn('bash', [script], { stdio: ['pipe', 'pipe', 'pipe'], signal });
  const { code, stdout, stderr } = await collect(child);
  const folder = stdout.trim();
  if (code === 0) {
    const file = (name: string) => join(folder, name);
    return { disk: file('disk'), kernel: file('kernel'), initrd: file('initrd') };
  }
  throw new UnderstudyError({
    code: 'US_LAB_IMAGE',
    action: 'cannot make',
    object: 'the image of a lab’s virtual machines',
    cause: stderr.trim().split('\n').slice(-4).join('; '),
    remedy: 'bash scripts/vm-image in a checkout (npm run setup) says more',
  });
}
