import { spawnSync } from 'node:child_process';
import t from 'tap';

/** Bit of V8's OptimizationStatus that says "not compiled" (src/runtime/runtime.h, kIsLazy). */
const lazyBit = 18;

/** Collects garbage of all ages, as a daemon does in hours: what gc() is asked for lets no code grow old. */
const afterHours = `
  const { PerformanceObserver, constants } = await import('node:perf_hooks');
  let collections = 0;
  new PerformanceObserver((list) => {
    for (const { detail } of list.getEntries())
      if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) collections++;
  }).observe({ entryTypes: ['gc'] });
  for (let kept = []; collections < 6; kept = kept.length > 2e5 ? [] : kept) {
    for (let i = 0; i < 1e4; i++) kept.push({ i });
    await new Promise((resolve) => setImmediate(resolve));
  }`;

/** Whether a function that nobody has called yet is compiled when its module was imported. */
function isCompiled(before: string, after = ''): boolean {
  const module = 'data:text/javascript,export function never() { return [1].map((x) => x + 1); }';
  const program = `${before}
    const { never } = await import(${JSON.stringify(module)});
    ${after}
    process.stdout.write(String((%GetOptimizationStatus(never) >> ${lazyBit}) & 1));`;
  const flags = ['--allow-natives-syntax', '--max-old-space-size=64', '--bytecode-old-age=2'];
  const argv = [...flags, '--input-type=module', '--eval', program];
  const { stdout, stderr } = spawnSync(process.execPath, argv, {
    encoding: 'utf8',
    timeout: 25_000,
  });
  if (stdout !== '0' && stdout !== '1') throw new Error(`no answer of V8: ${stderr}`);
  return stdout === '0';
}

const path = new URL('../../src/cli/compile-ahead.js', import.meta.url).href;
const ahead = `(await import(${JSON.stringify(path)})).compileAhead();`;

t.test('what a daemon imports is compiled before it is called', async (t) => {
  t.notOk(isCompiled(''), 'V8 itself waits for the first call');
  t.ok(isCompiled(ahead));
});

t.test('and stays so for as long as nobody calls it', async (t) => {
  t.ok(isCompiled(ahead, afterHours));
});
