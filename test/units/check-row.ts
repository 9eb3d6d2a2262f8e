import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { PingWatch } from '../../src/observe/observers.js';
import { untilSpare } from '../lab/harness.js';
import { applyWorkload, page, runsAs, type UnitLab } from './harness.js';
import type { Promised } from './scenario-table.js';
import { lateWasKept, type Scenario, shop } from './scenarios.js';
import { calm, standing, type Writes } from './site.js';

/** How long is waited for what a row says, which the kind of host decides. */
export interface Patience {
  /** Until a process, a disk or a workload is another one. */
  readonly settleMs: number;
  /** Until a client that asks again and again is answered. */
  readonly answerMs: number;
  /** Until another host has the personality. */
  readonly movesMs: number;
  /** Power on until the host is a spare. */
  readonly spareMs: number;
  readonly page: { readonly listenSeconds: number; readonly readSeconds: number };
  readonly pingEveryMs: number;
}

export const ofContainers: Patience = {
  settleMs: 60_000,
  answerMs: 10_000,
  movesMs: 20_000,
  spareMs: 60_000,
  page: { listenSeconds: 20, readSeconds: 2 },
  pingEveryMs: 2,
};

export async function untilSeen(
  what: string,
  condition: () => Promise<boolean>,
  settleMs: number,
): Promise<void> {
  for (const endMs = performance.now() + settleMs; !(await condition().catch(() => false)); ) {
    if (performance.now() > endMs) throw new Error(`waited ${settleMs} ms in vain until ${what}`);
    await pause(100);
  }
}

/** What the rows of a table of units are done to, one after the other. */
export class Rows {
  readonly #world: UnitLab;
  readonly #writes: Writes;
  readonly #patience: Patience;
  #kind: Scenario['workload'];

  constructor(world: UnitLab, writes: Writes, patience: Patience) {
    this.#world = world;
    this.#writes = writes;
    this.#patience = patience;
  }

  /** Gives web-1 the kind of workload that the scenario is about. */
  async prepare({ workload }: Scenario): Promise<void> {
    if (workload === this.#kind) return;
    this.#kind = workload;
    const command = ['busybox', 'httpd', '-f', '-p', '80', '-h', '/srv/shop'];
    await applyWorkload(
      this.#world,
      workload === 'unit' ? { kind: 'unit', unit: shop } : { kind: 'command', command },
    );
    const one = workload === 'unit' ? '/bin/busybox' : 'busybox';
    const { host } = await standing(this.#world);
    await this.#until(
      `the workload is a ${workload ?? 'command'}`,
      async () => (await this.#world.shell(host, `pgrep -f '^${one} httpd'`)) !== '',
    );
  }

  /** Does what the row is about and looks for all that its cells say. */
  async check(t: Test, row: Promised, scenario: Scenario): Promise<void> {
    const [world, writes] = [this.#world, this.#writes];
    const { answerMs, movesMs, spareMs, pingEveryMs } = this.#patience;
    const before = await standing(world);
    const host = scenario.on ?? before.host;
    const process = await scenario.process(world, host);
    t.not(process, '', 'the unit runs');
    if (scenario.alone) await writes.stop();
    else await writes.ensure();
    const ping = new PingWatch(world.stage.lab, 'c1', '10.10.0.11', pingEveryMs);
    try {
      await ping.answerAfter(Date.now(), answerMs);
      const sinceMs = Date.now();
      await scenario.act(world, host);
      if (row.personality === 'moves') {
        t.not(await runsAs(world, before.epoch + 1, movesMs), before.host, 'another host has it');
      }
      const later = () => standing(world);
      const { held } = this;
      await held(t, 'its process', row.process, process, () => scenario.process(world, host));
      const workload = async () => (await later()).workload;
      await held(t, 'the workload', row.workload, before.workload, workload);
      await held(t, 'the disk', row.disk, before.disk, async () => (await later()).disk);
      const { outlastsMs = 0 } = scenario;
      await ping.answerAfter(sinceMs + outlastsMs, outlastsMs + answerMs);
      t.equal(await page(world, this.#patience.page), 'kept\n', 'it serves from its disk');
      const after = await later();
      if (row.personality !== 'moves') {
        t.same([after.host, after.epoch], [before.host, before.epoch], 'same host, same epoch');
      }
      await ping.answerAfter(Date.now(), answerMs);
      const gapMs = Math.round(ping.longestGapMs(sinceMs) ?? Number.NaN);
      t.comment(`${row.id}: ${ping.lostAfter(sinceMs)} pings lost, gap ${gapMs} ms`);
      if (row.personality === '0 lost') t.equal(ping.lostAfter(sinceMs), 0, 'no ping is lost');
      if (row.disk === 'same') t.ok(await writes.goesOn(), 'who writes goes on');
      t.strictSame(await writes.lost(), [], `all of ${writes.acknowledged} writes are there`);
      const [, late] = /: (?:systemctl )?(reboot|remove)$/.exec(row.id) ?? [];
      if (late !== undefined) t.ok(await lateWasKept(world, late), 'what was not synced, too');
    } finally {
      await ping.stop();
    }
    await scenario.undo?.(world, host);
    if (row.personality === 'moves')
      await untilSpare(world.stage, before.host, before.incarnation, spareMs);
    await calm(world, spareMs);
  }

  /** What a cell says of something that has a name: the same as before, another, none. */
  readonly held = async (
    t: Test,
    what: string,
    word: string,
    before: string,
    now: () => Promise<string>,
  ): Promise<void> => {
    if (word === 'same') t.equal(await now(), before, `${what} is the same`);
    if (word === 'none') await this.#until(`${what} is gone`, async () => (await now()) === '');
    if (word === 'anew') {
      const isAnother = async () => ![before, ''].includes(await now());
      await this.#until(`${what} is another`, isAnother);
    }
    t.pass(`${what}: ${word}`);
  };

  #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    return untilSeen(what, condition, this.#patience.settleMs);
  }
}
