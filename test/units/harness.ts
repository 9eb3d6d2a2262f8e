import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import type { PersonalityConfig } from '../../src/config/types.js';
import { must, personality, type Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import { applyConfig } from '../../src/operate/apply.js';
import { personHere } from '../../src/operate/audit.js';
import { EtcdStore } from '../../src/store/etcd.js';
import { openLab, untilListening } from '../lab/harness.js';
import { buildPackage, installAtBoot } from './package.js';
import { removeCgroup, systemdHostInit, unifiedHierarchy } from './systemd-host.js';

/** Three hosts; all are controllers. */
const trio = `
cluster: CLUSTER
controllers: [h1, h2, h3]
hosts: [{name: h1}, {name: h2}, {name: h3}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
volumes:
  - {name: web1-data, target: "iqn.2026-11.example.lab:web1", lun: 1, format: if-blank}
personalities:
  - name: web-1
    networks: [{network: blue, address: 10.10.0.11/24}]
    storage: [{lun: 0, volume: web1-data, mount: /srv/www}]
    workload: {command: [busybox, httpd, -f, -p, "80", -h, /srv/www]}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
  storage: [{target: "iqn.2026-11.example.lab:web1", luns: [{lun: 1, size: 64MiB}]}]
`;

/** Sandboxed as a distribution's own unit may be: none of that is in the way of a personality. */
export const shopUnit = `[Unit]
Description=Shop %i
[Service]
DynamicUser=yes
AmbientCapabilities=CAP_NET_BIND_SERVICE
PrivateTmp=yes
ProtectSystem=strict
ExecStart=/bin/busybox httpd -f -p 80 -h /srv/shop
`;

/** Why hosts cannot be run by systemd here; undefined when they can. */
export function systemdMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can start systemd in a container';
  if (!existsSync('/usr/bin/systemd-nspawn'))
    return 'systemd-container is not installed (npm run setup)';
  return unifiedHierarchy() === undefined ? 'no cgroup2 is mounted' : undefined;
}

/** A lab whose hosts are run by systemd. */
export interface UnitLab {
  readonly stage: Stage;
  readonly lab: Lab;
  /** One property of a unit, as `systemctl show` has it. */
  property(host: string, unit: string, name: string): Promise<string>;
  /** Runs a shell script on a host; it has to succeed. */
  shell(host: string, script: string): Promise<string>;
}

export interface SystemdLab extends UnitLab {
  /** Waits for a state of a unit, of which no event reaches us. */
  untilProperty(host: string, unit: string, name: string, value: string): Promise<void>;
}

/** A version that comes after the one that hosts begin with. */
export const nextVersion = '99.0.0';

/** A lab whose hosts are run by systemd, with Understudy's package installed as on a sysadmin's own. */
export async function openSystemdLab(
  t: Test,
  cluster: string,
  { file = trio, alsoAtBoot = '' }: { file?: string; alsoAtBoot?: string } = {},
): Promise<SystemdLab> {
  const name = `${cluster}-${process.pid}`;
  // Below dist: a lab sees the checkout, wherever that is.
  const folder = mkdtempSync(new URL('../../installed-', import.meta.url).pathname);
  const root = join(folder, 'root');
  t.teardown(() => {
    rmSync(folder, { recursive: true });
    removeCgroup(name);
  });
  const debs = await Promise.all([buildPackage(folder), buildPackage(folder, nextVersion)]);
  installAtBoot(root, debs, alsoAtBoot);
  writeFileSync(join(root, 'etc/systemd/system/shop@.service'), shopUnit);
  mkdirSync(join(root, 'srv/shop'), { recursive: true, mode: 0o755 });
  const settings = { hostInit: systemdHostInit(root, name) };
  const { stage, lab } = await openLab(t, cluster, settings, file);
  // The test runner's own loader is on the machine's disk, which a container need not see.
  const shell = (host: string, script: string) =>
    must(stage, host, ['env', '-u', 'NODE_OPTIONS', 'sh', '-ec', script]);
  const property = async (host: string, unit: string, wanted: string) =>
    (await must(stage, host, ['systemctl', 'show', '-P', wanted, unit])).trim();
  return {
    stage,
    lab,
    shell,
    property,
    untilProperty: async (host, unit, wanted, value) => {
      let seen = '';
      const what = () => `${wanted} of ${unit} on ${host} is ${value} and not ${seen}`;
      const endMs = performance.now() + 30_000;
      for (;;) {
        seen = await property(host, unit, wanted);
        if (seen === value) return;
        await pause(50);
        if (performance.now() > endMs) throw new Error(`waited 30 s in vain until ${what()}`);
      }
    },
  };
}

/** Gives web-1 another workload, which sees its volume at /srv/shop. */
export async function applyWorkload(
  { stage, lab }: UnitLab,
  workload: PersonalityConfig['workload'],
): Promise<void> {
  const { config } = stage;
  const prefix = `/understudy/${config.cluster}/`;
  const store = new EtcdStore({ endpoints: lab.endpoints, prefix, identity: 'test' });
  await store.start(stage.signal);
  const personalities = config.personalities.map((one) => {
    if (one.name !== 'web-1') return one;
    const storage = one.storage.map((volume) => ({ ...volume, mount: '/srv/shop' }));
    return { ...one, storage, workload };
  });
  await applyConfig(store, { ...config, personalities }, personHere());
  await store.stop();
}

/** Reads over HTTP, from a client, what lies on the LUN. */
export async function page(
  { stage }: UnitLab,
  { listenSeconds, readSeconds } = { listenSeconds: 20, readSeconds: 2 },
): Promise<string> {
  await untilListening(stage, 'c1', ['10.10.0.11'], listenSeconds);
  const curl = ['curl', '-s', '-m', String(readSeconds), 'http://10.10.0.11/'];
  const { stdout } = await stage.lab.exec('c1', curl);
  return stdout;
}

/** Waits until web-1 runs under this epoch. */
export async function runsAs({ stage }: UnitLab, epoch: number, limitMs = 20_000): Promise<string> {
  const status = await stage.until(
    `web-1 runs as epoch ${epoch}`,
    (now) => {
      const one = personality(now, 'web-1');
      return one.phase === 'running' && one.epoch === epoch;
    },
    limitMs,
  );
  return personality(status, 'web-1').host ?? '';
}
