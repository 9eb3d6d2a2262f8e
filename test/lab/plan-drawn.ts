import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import type { Lab } from '../../src/lab/lab.js';
import { Random } from '../../src/simulate/random.js';
import { EtcdStore } from '../../src/store/etcd.js';
import { openLab } from './harness.js';
import { KernelWatch, lookAt } from './kernel-watch.js';
import { drawnFile, drawnHosts, fileText, nextFile, withVolumes } from './plan-changes.js';
import { lookEveryMs, oneChange } from './plan-observer.js';

/** So many changes drawn from a seed, one on top of the other: each is what its plan said. */
export async function planDrawnChanges(
  t: Test,
  { cluster, seed, count }: { cluster: string; seed: number; count: number },
): Promise<void> {
  const random = new Random(seed, 'plan');
  let file = drawnFile(cluster);
  const { stage, lab } = await openLab(t, cluster, {}, fileText(file));
  const folder = mkdtempSync(join(tmpdir(), `understudy-${cluster}-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'cluster.yaml');
  const store = new EtcdStore({ endpoints: lab.endpoints, prefix: `/understudy/${cluster}/` });
  await store.start(stage.signal);
  t.teardown(() => store.stop());
  const watch = new KernelWatch(lab);
  const hosts = drawnHosts.map(({ name }) => name);
  const place = { lab, stage, store, watch, path, hosts, withVolumes: () => withVolumes(file) };
  while (!(await isReady(lab))) await pause(lookEveryMs);
  for (let index = 1; index <= count; index++) {
    const drawn = nextFile(file, random);
    file = drawn.file;
    writeFileSync(path, fileText(file));
    await t.test(`seed ${seed}, change ${index}: ${drawn.what}`, (t) => oneChange(t, place));
  }
}

/** A plan is about a cluster at rest: the first spare keeps ready what it would take over. */
async function isReady(lab: Lab): Promise<boolean> {
  const kernels = await Promise.all(drawnHosts.map(({ name }) => lookAt(lab, name)));
  return kernels.some((kernel) => ['us-web1', 'us-web2'].every((name) => kernel.has(name)));
}
