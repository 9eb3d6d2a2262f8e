import { spawnSync } from 'node:child_process';
import t from 'tap';

/** Bit of V8's OptimizationStatus that says "not compiled yet" (src/runtime/runtime.h, kIsLazy). */
const lazyBit = 18;

/** Whether a function that nobody has called yet is compiled when its module is imported. */
function isCompiled(before: string): boolean {
  const module = 'data:text/javascript,export function never() { return [1].map((x) => x + 1); }';
  const program = `${before}
    const { never } = await import(${JSON.stringify(module)});
    process.stdout.write(String((%GetOptimizationStatus(never) >> ${lazyBit}) & 1));`;
  const argv = ['--allow-natives-syntax', '--input-type=module', '--eval', program];
  const { stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  if (stdout !== '0' && stdout !== '1') throw new Error(`no answer of V8: ${stderr}`);
  return stdout === '0';
}

t.test('what a daemon imports is compiled before it is called', async (t) => {
  const path = new URL('../../src/cli/compile-ahead.js', import.meta.url).href;
  t.notOk(isCompiled(''), 'V8 itself waits for the first call');
  t.ok(isCompiled(`(await import(${JSON.stringify(path)})).compileAhead();`));
});
