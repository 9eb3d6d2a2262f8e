import { finish } from '../../src/cli/context.js';
import { interruptible } from '../../src/cli/interrupt.js';

/** A command that waits for the end; with `stubborn` it does not stop even then. */
const signal = interruptible();
const stubborn = process.argv[2] === 'stubborn';

await finish(false, async () => {
  const kept = setInterval(() => {}, 60_000);
  process.stdout.write('ready\n');
  await new Promise<void>((_resolve, reject) => {
    signal.addEventListener('abort', () => {
      process.stdout.write('stopping\n');
      if (!stubborn) reject(new Error('the store was closed', { cause: signal.reason }));
    });
  });
  clearInterval(kept);
  return 0;
});
process.exit();
