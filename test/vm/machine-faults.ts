import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { paces } from '../../src/demo/pace.js';
import { macOf, must, personality, type Stage } from '../../src/demo/stage.js';
import { bootMs } from '../../src/ffi/clock.js';
import type { Lab } from '../../src/lab/lab.js';
import { judgeOf } from '../../src/lab/lab-judge.js';
import type { Judge } from '../../src/observe/judge.js';
import { PingWatch } from '../../src/observe/observers.js';
import { incarnationOf, untilSpare } from '../lab/harness.js';
import { address, patienceMs, pingEveryMs, stepsMs } from './trunk.js';

/** The kernel, systemd and both daemons, from power on. */
export const bootedMs = paces.vm.returnMs;

/** Who has `web-1` when a fault begins, and since when it is watched. */
export interface Before {
  readonly host: string;
  readonly epoch: number;
  readonly incarnation: number;
  readonly mac: string;
  readonly sinceMs: number;
  readonly judge: Judge;
}

/** Faults done one after the other to whoever has `web-1`, in one lab of machines. */
export class MachineFaults {
  readonly #stage: Stage;
  readonly #lab: Lab;
  readonly #ping: PingWatch;
  #texts = 0;

  constructor(stage: Stage, lab: Lab) {
    this.#stage = stage;
    this.#lab = lab;
    this.#ping = new PingWatch(stage.lab, 'c1', address, pingEveryMs);
  }

  stop(): Promise<void> {
    return this.#ping.stop();
  }

  /** One fault with a text of its own on the LUN, and a judge at the switch from before it to its end. */
  async one(
    t: Test,
    name: string,
    fault: (t: Test, before: Before) => Promise<void>,
  ): Promise<void> {
    await t.test(name, async (t) => {
      const startedMs = Date.now();
      const judge = judgeOf(this.#lab, this.#stage.config);
      t.teardown(() => judge.stop());
      const status = await this.#stage.until(
        'every host is up and every controller grants',
        ({ hosts }) =>
          hosts.every(
            ({ state, controller, granting }) => state === 'up' && granting === controller,
          ),
        patienceMs,
      );
      const { host, epoch } = personality(status, 'web-1');
      if (host === null) throw new Error('web-1 has no host');
      await this.write(`before ${name}`);
      await this.#ping.answerAfter(Date.now(), patienceMs);
      const [sinceMs, mac] = [Date.now(), macOf(status, 'web-1')];
      const incarnation = incarnationOf(status, host);
      await fault(t, { host, epoch, incarnation, mac, sinceMs, judge });
      t.comment(`${name}: ${Math.round((Date.now() - startedMs) / 1_000)} s`);
    });
  }

  /** A file on the LUN, synced. */
  async write(text: string): Promise<void> {
    const file = `/srv/shop/${++this.#texts}`;
    await must(this.#stage, 'web-1', ['sh', '-c', `echo '${text}' > ${file} && sync ${file}`]);
  }

  /** That the client reads what was written last, from whoever has the address. */
  async readable(t: Test): Promise<void> {
    const page = ['curl', '-s', '-m', '60', `http://${address}/${this.#texts}`];
    t.match(await must(this.#stage, 'c1', page), /^before /, 'the client reads what was synced');
  }

  /** Another host has it, under the next epoch, with its MAC and its disk. @returns the gap, ms */
  async takenOver(t: Test, { host, epoch, mac, sinceMs }: Before): Promise<void> {
    const status = await this.#stage.until(
      'web-1 runs on the other host',
      (status) => {
        const now = personality(status, 'web-1');
        return now.phase === 'running' && now.epoch === epoch + 1 && now.host !== host;
      },
      patienceMs,
    );
    // Its steps; nobody else is on that network who could verify it.
    const record = await this.#stage.failover('web-1', epoch + 1, stepsMs);
    t.equal(record.outcome, 'ok', `${host} → ${record.to}: ${record.reason}`);
    t.equal(macOf(status, 'web-1'), mac, 'by the same MAC');
    await this.#ping.answerAfter(Date.now(), patienceMs);
    await this.readable(t);
    t.comment(`gap ${Math.round(this.#ping.longestGapMs(sinceMs) ?? Number.NaN)} ms`);
  }

  /** The old host is a spare again, under a later incarnation. */
  async isSpare(t: Test, { host, incarnation }: Before, withinMs = bootedMs): Promise<void> {
    await untilSpare(this.#stage, host, incarnation, withinMs);
    t.pass(`${host} is a spare again`);
  }

  /**
   * No vMAC was live at two ports of the switch.
   *
   * @param untilBootMs rivals that are allowed up to then: a machine whose clock stood still
   */
  oneOwner(t: Test, { judge }: Before, untilBootMs = 0): void {
    const { rivals, missed, frames } = judge.verdict();
    const late = rivals.filter(({ atNs }) => Number(atNs / 1_000_000n) > untilBootMs);
    t.same(late, [], `no vMAC from two ports in ${frames} frames`);
    t.ok(frames > 0 && missed === 0, 'and none was missed');
    if (rivals.length > 0) t.comment(`frames within the lease's rest: ${rivals.length}`);
  }

  /** When its processor has gone on, on this machine's boot clock. */
  async pausedUntilTakenOver(t: Test, before: Before): Promise<number> {
    await this.#lab.pause(before.host);
    await this.takenOver(t, before);
    const resumedMs = bootMs();
    await this.#lab.resume(before.host);
    return resumedMs;
  }

  /** Stops the emulator itself: the machine's clock goes on meanwhile. */
  async stalledUntilTakenOver(t: Test, before: Before): Promise<void> {
    const first = this.#lab.pidOf(before.host);
    const children = readFileSync(`/proc/${first}/task/${first}/children`, 'utf8');
    const [machine] = children.trim().split(' ').map(Number);
    if (machine === undefined || !Number.isInteger(machine)) throw new Error('no emulator runs');
    process.kill(machine, 'SIGSTOP');
    try {
      await this.takenOver(t, before);
    } finally {
      process.kill(machine, 'SIGCONT');
    }
  }
}
