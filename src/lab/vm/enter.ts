import { messageOf } from '../../errors.js';
import { runInVm } from './guest.js';

/** `enter SOCKET COMMAND…`: the command in the guest; its output, once it has ended, and its exit code. */
const [socket = '', ...argv] = process.argv.slice(2);
try {
  const { code, stdout, stderr } = await runInVm(socket, argv);
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  process.exitCode = code;
} catch (thrown) {
  process.stderr.write(`${messageOf(thrown)}\n`);
  process.exitCode = 125;
}
