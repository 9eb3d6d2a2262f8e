import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { must, type Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import { controlNode } from '../../src/lab/plan.js';
import { nextVersion, shopUnit, type UnitLab } from '../units/harness.js';
import { buildPackage } from '../units/package.js';
import { missingLines, type Writes } from '../units/site.js';

const packagePort = 8_099;
const packageFile = 'next.deb';
/** Where a machine fetches the package of the next version from. */
export const packageUrl = `http://${controlNode.address}:${packagePort}/${packageFile}`;

/** Machines that have the unit of a user's own; a package of the next version waits for them. */
export async function unitsWorld(t: Test, stage: Stage, lab: Lab): Promise<UnitLab> {
  // Below dist: a lab sees the checkout, wherever that is.
  const folder = mkdtempSync(new URL('../../next-', import.meta.url).pathname);
  t.teardown(() => rmSync(folder, { recursive: true }));
  renameSync(await buildPackage(folder, nextVersion), join(folder, packageFile));
  const server = ['busybox', 'httpd', '-f', '-p', String(packagePort), '-h', folder];
  const child = lab.spawn(lab.command(controlNode.name, server));
  t.teardown(() => child.kill());
  const shell = (host: string, script: string) => must(stage, host, ['sh', '-ec', script]);
  const property = async (host: string, unit: string, wanted: string) =>
    (await must(stage, host, ['systemctl', 'show', '-P', wanted, unit])).trim();
  const install = `cat > /etc/systemd/system/shop@.service << 'END'
${shopUnit}END
mkdir -p -m 755 /srv/shop
systemctl daemon-reload`;
  for (const { name } of lab.plan.hosts) await shell(name, install);
  return { stage, lab, shell, property };
}

/** A line for each fault, synced: what a command in a machine prints comes when it has ended. */
export class LineWriter implements Writes {
  readonly #world: UnitLab;
  #acknowledged = 0;

  constructor(world: UnitLab) {
    this.#world = world;
  }

  async ensure(): Promise<void> {
    const number = this.#acknowledged + 1;
    const script = `echo ${number} >> /srv/shop/log && sync -d /srv/shop/log`;
    await must(this.#world.stage, 'web-1', ['sh', '-c', script]);
    this.#acknowledged = number;
  }

  async stop(): Promise<void> {}

  async goesOn(): Promise<boolean> {
    await this.ensure();
    return true;
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  lost(): Promise<readonly number[]> {
    return missingLines(this.#world, this.#acknowledged);
  }
}
