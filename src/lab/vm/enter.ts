import { messageOf } from '../../errors.js';
import { runInVm } from './guest.js';

/** `enter FOLDER COMMAND…`: the command in the guest; its output, once it has ended, and its exit code. */
const [folder = '', ...argv] = process.argv.slice(2);
try {
  const { code, stdout, stderr } = await runInVm(folder, argv);
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  process.exitCode = code;
} catch (thrown) {
  process.stderr.write(`${messageOf(thrown)}\n`);
  process.exitCode = 125;
}
