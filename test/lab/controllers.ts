import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { personality, type Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import type { PingWatch } from '../../src/observe/observers.js';
import { understudy } from './harness.js';

/** Controllers carry nothing, so that a controller's end is not the owner's. */
export const controlled = (controllers: readonly string[], more = '') => `
cluster: CLUSTER
controllers: [${controllers.join(', ')}]
${more}
hosts:
  - {name: h1, pool: control}
  - {name: h2, pool: control}
  - {name: h3, pool: control}
  - {name: h4, pool: work}
  - {name: h5, pool: work}
  - {name: h6, pool: control}
  - {name: h7, pool: control}
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
personalities:
  - {name: web1, networks: [{network: blue, address: 10.10.0.11/24}], pool: work}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
`;
/** A second or two, where nothing else keeps the machine. */
const changeMs = 60_000;

export async function apply(lab: Lab, controllers: readonly string[], more = ''): Promise<void> {
  const cluster = lab.name.replace(/-\d+$/, '');
  const folder = mkdtempSync(join(tmpdir(), 'understudy-elect-'));
  try {
    const path = join(folder, 'cluster.yaml');
    writeFileSync(path, controlled(controllers, more).replace('CLUSTER', cluster));
    await understudy(lab, 'apply', path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * The change is over, these are the controllers, and all of them are up and grant: one that was voted out
 * over it and is not back yet would be the second to fail, when the next one is killed.
 */
export async function settled(stage: Stage, controllers: readonly string[]): Promise<void> {
  await stage.until(
    `${controllers.join(', ')} are the controllers`,
    ({ controllersChange, hosts }) => {
      const now = hosts.filter(({ controller }) => controller);
      const named = now.map(({ name }) => name).join() === controllers.join();
      return (
        controllersChange === null &&
        named &&
        now.every(({ state, granting }) => state === 'up' && granting)
      );
    },
    changeMs,
  );
}

export async function nothingLost(
  t: Test,
  stage: Stage,
  ping: PingWatch,
  sinceMs: number,
  owner: string,
  epoch: number,
): Promise<void> {
  await ping.answerAfter(Date.now(), 5_000);
  t.equal(ping.lostAfter(sinceMs), 0, 'no ping is lost');
  const now = personality(await stage.status(), 'web1');
  t.same([now.host, now.epoch], [owner, epoch], 'same host, same epoch');
}
