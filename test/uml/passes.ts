import type { Test } from 'tap';
import { runInGuest } from './guest.js';

const workingDirectory = new URL('../../..', import.meta.url).pathname;

/** Modules of LIO with LUNs on files, and of volumes on it. */
export const lioModules = ['configfs', 'target_core_mod', 'target_core_file', 'iscsi_target_mod'];
export const volumeModules = [...lioModules, 'fuse', 'loop', 'ext4'];
/** And of volumes by the kernel's own initiator. */
export const kernelModules = [...lioModules, 'iscsi_tcp', 'sd_mod', 'ext4'];

/** And of volumes with several portals. */
export const pathModules = [...kernelModules, 'dm-mod', 'dm-multipath', 'dm-service-time', 'veth'];

interface PassesOptions {
  readonly timeoutMs?: number;
  readonly memoryMiB?: number;
  readonly argv?: readonly string[];
}

/** Runs a compiled test in a guest, each of its lines an assertion here. */
export async function passes(
  t: Test,
  program: URL,
  modules: readonly string[],
  { timeoutMs = 240_000, argv = [], ...options }: PassesOptions = {},
): Promise<void> {
  let passed = 0;
  const { code, output } = await runInGuest({
    command: [process.execPath, program.pathname, ...argv],
    ...{ ...options, workingDirectory, modules, timeoutMs },
    onLine: (line) => {
      const [, not, name] = /^\s*(not )?ok \d+ - (.*?)(?: # .*)?$/.exec(line) ?? [];
      if (name === undefined) return;
      t.equal(not, undefined, name);
      passed += 1;
    },
  });
  t.ok(passed > 0, 'something was tested');
  t.equal(code, 0, 'the guest’s own exit code');
  if (code !== 0) t.comment(output);
}
