import { setTimeout as pause } from 'node:timers/promises';
import { must } from '../../src/demo/stage.js';
import { nextVersion, type UnitLab } from './harness.js';
import { storageHost } from './site.js';

export const agent = 'understudy-agent.service';
export const pulse = 'understudy-pulse.service';
export const target = 'understudy-target.service';
export const shop = 'shop@web1.service';

/** What is done to a unit, on the host that has web-1 unless it says otherwise. */
export interface Scenario {
  readonly on?: string;
  /** Names the process of the unit for ever; '' while it has none. */
  readonly process: (world: UnitLab, host: string) => Promise<string>;
  readonly act: (world: UnitLab, host: string) => Promise<void>;
  /** Once all that is promised was seen: as it was before. */
  readonly undo?: (world: UnitLab, host: string) => Promise<void>;
  readonly workload?: 'unit';
  /** Only whoever is answered so long after it has lost nothing: until then the last lease would have done. */
  readonly outlastsMs?: number;
  /** Nobody else writes meanwhile: a shutdown knows of nobody but units. */
  readonly alone?: true;
}

type Act = Scenario['act'];

/** Main process of a service. */
const mainOf =
  (unit: string): Scenario['process'] =>
  async ({ lab, property }, host) => {
    if (lab.pidOf(host) === undefined) return '';
    const pid = await property(host, unit, 'MainPID');
    return pid === '0' ? '' : pid;
  };
const onHost =
  (script: string): Act =>
  async ({ shell }, host) => {
    await shell(host, script);
  };

/** The scope in which such a process runs; its name is another each time. */
const scopeOf =
  (pattern: string, also = ':'): Scenario['process'] =>
  async ({ shell }, host) => {
    const script = `for pid in $(pgrep -f '${pattern}'); do
  if ${also}; then sed -n 's,^0::.*/,,p' /proc/$pid/cgroup; fi
done`;
    return (await shell(host, script)).trim();
  };
// A host keeps a process ready that has no disk, and so no export.
const diskScope = scopeOf(
  '^qemu-storage-daemon.* --monitor',
  'ls -l /proc/$pid/fd 2> /dev/null | grep -q /dev/fuse',
);
const workloadScope = scopeOf('^busybox httpd');

/** The same things done to one unit. */
function toUnit(unit: string, on?: string): Readonly<Record<string, Scenario>> {
  const base = { process: mainOf(unit), ...(on === undefined ? {} : { on }) };
  const start = onHost(`systemctl start ${unit}`);
  return {
    SIGKILL: { ...base, act: onHost(`systemctl kill -s SIGKILL ${unit}`) },
    restart: { ...base, act: onHost(`systemctl restart ${unit}`) },
    stop: { ...base, act: onHost(`systemctl stop ${unit}`), undo: start },
    // Whoever is stopped cannot end by itself: if it does, its watchdog did it.
    hangs: { ...base, act: onHost(`kill -STOP $(systemctl show -P MainPID ${unit})`) },
  };
}

/** To a scope: it has no main process, and systemd does not start it again. */
function toScope(scope: Scenario['process']): Readonly<Record<string, Scenario>> {
  const control =
    (words: string): Act =>
    async (world, host) => {
      await world.shell(host, `systemctl ${words} ${await scope(world, host)}`);
    };
  return {
    SIGKILL: { process: scope, act: control('kill -s SIGKILL') },
    stop: { process: scope, act: control('stop') },
    hangs: {
      process: scope,
      act: async (world, host) => {
        await control('kill -s SIGSTOP')(world, host);
        // Longer than any watchdog of ours.
        await pause(12_000);
        await control('kill -s SIGCONT')(world, host);
      },
    },
  };
}

/** tgtd does not end by itself while an initiator is logged in: systemd waits for it (DefaultTimeoutStopSec=). */
const downMs = 150_000;

/** Until its first process is gone; then power again. */
async function again({ lab }: UnitLab, host: string): Promise<void> {
  for (const endMs = performance.now() + downMs; lab.pidOf(host) !== undefined; await pause(50)) {
    if (performance.now() > endMs) throw new Error(`${host} does not go down`);
  }
  await lab.start(host);
}

/** Written, and not synced, before a shutdown in good order. */
export const late =
  (name: string): Act =>
  async ({ stage }) => {
    await must(stage, 'web-1', ['sh', '-c', `echo late > /srv/shop/late-${name}`]);
  };

export const lateWasKept = async ({ stage }: UnitLab, name: string): Promise<boolean> =>
  (await must(stage, 'web-1', ['cat', `/srv/shop/late-${name}`])) === 'late\n';

const install = onHost(`dpkg --no-triggers -i /opt/packages/understudy_${nextVersion}_*.deb`);

const host: Readonly<Record<string, Scenario>> = {
  'systemctl reboot': {
    process: mainOf(agent),
    alone: true,
    act: async (world, name) => {
      await late('reboot')(world, name);
      await world.shell(name, 'systemctl reboot');
      await again(world, name);
    },
  },
  'power cut': {
    process: mainOf(agent),
    act: async ({ lab }, name) => {
      await lab.kill(name);
      await lab.start(name);
    },
  },
  'systemctl reboot of the storage host': {
    on: storageHost,
    process: mainOf(target),
    act: async (world, name) => {
      await world.shell(name, 'systemctl reboot');
      await again(world, name);
    },
  },
  'power cut of the storage host': {
    on: storageHost,
    process: mainOf(target),
    act: async ({ lab }, name) => {
      await lab.kill(name);
      await lab.start(name);
    },
  },
};

const thePackage: Readonly<Record<string, Scenario>> = {
  upgrade: { process: mainOf(agent), act: install },
  'upgrade on the storage host': { on: storageHost, process: mainOf(target), act: install },
  remove: {
    process: mainOf(agent),
    act: async (world, name) => {
      await late('remove')(world, name);
      await world.shell(name, 'dpkg --no-triggers --remove understudy');
    },
    undo: onHost('dpkg --no-triggers --purge understudy; . /opt/packages/install.sh'),
  },
};

/** The user's own unit has the watchdog that the user gave it. */
const withoutWatchdog = ({ hangs: _, ...others }: Readonly<Record<string, Scenario>>) => others;

const onlySigkill = ({ SIGKILL }: Readonly<Record<string, Scenario>>) =>
  SIGKILL === undefined ? {} : { SIGKILL };

const asUnit = (scenarios: Readonly<Record<string, Scenario>>) =>
  Object.fromEntries(
    Object.entries(scenarios).map(([name, one]) => [name, { ...one, workload: 'unit' as const }]),
  );

/** By the first two cells of a row of the table in docs/what-happens-when.md, "Units". */
export const scenarios: ReadonlyMap<string, Scenario> = new Map(
  Object.entries({
    agent: toUnit(agent),
    pulse: {
      ...toUnit(pulse),
      'understudy pulse-restart': {
        process: mainOf(pulse),
        act: onHost('understudy pulse-restart'),
      },
    },
    target: toUnit(target, storageHost),
    disk: toScope(diskScope),
    command: toScope(workloadScope),
    'workload unit': asUnit(withoutWatchdog(toUnit(shop))),
    'disk under a unit': asUnit(onlySigkill(toScope(diskScope))),
    package: thePackage,
    host,
  }).flatMap(([unit, all]) =>
    Object.entries(all as Record<string, Scenario>).map(
      ([done, one]) => [`${unit}: ${done}`, one] as const,
    ),
  ),
);
