import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { parseClusterFile } from '../../src/config/parse.js';
import type { ClusterConfig, LabConfig } from '../../src/config/types.js';
import { Lab, type LabOptions } from '../../src/lab/lab.js';
import { isAlive, type ProcessId, startTimeOf } from '../../src/lab/processes.js';
import type { Ran } from '../../src/lab/shell.js';
import { labDirectory } from '../../src/lab/state.js';

/** Labs of nodes alone: trivial programs stand in for agent and pulse. */

export const twoHosts = `
cluster: test
controllers: [h1]
hosts: [{name: h1}, {name: h2}]
networks:
  - {name: blue, fabric: vxlan, id: 100, subnet: [10.10.0.0/24, "fd00:10::/64"]}
  - {name: green, fabric: vxlan, id: 200, subnet: 10.20.0.0/24}
volumes:
  - {name: data, target: "iqn.2026-11.example.lab:data", lun: 1}
lab:
  clients:
    - {name: c1, network: blue, address: [10.10.0.200/24, "fd00:10::200/64"]}
    - {name: c2, network: blue, address: [10.10.0.201/24, "fd00:10::201/64"]}
    - {name: c3, network: green, address: 10.20.0.200/24}
  storage: [{target: "iqn.2026-11.example.lab:data", luns: [{lun: 1, size: 16MiB}]}]
`;

export function parsed(text: string): { config: ClusterConfig; lab: LabConfig } {
  const result = parseClusterFile(text);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const { config, lab } = result;
  if (lab === undefined) throw new Error('the test’s own file has no lab');
  return { config, lab };
}

const idle = ['sh', '-c', 'exec sleep infinity', 'idle'];
let built = 0;

export function labName(): string {
  built += 1;
  return `ustest-${process.pid}-${built}`;
}

export async function buildLab(
  t: Test,
  text = twoHosts,
  options: Partial<LabOptions> = {},
): Promise<Lab> {
  const lab = await Lab.build({
    name: labName(),
    ...parsed(text),
    signal: new AbortController().signal,
    say: (line) => t.comment(line),
    programs: { agent: idle, pulse: idle, target: idle },
    ...options,
  });
  t.teardown(() => lab.down());
  return lab;
}

export function run(lab: Lab, node: string, ...argv: readonly string[]): Promise<Ran> {
  return lab.exec(lab.command(node, argv));
}

/** Whether one ping is answered within a second. */
export async function pings(lab: Lab, from: string, to: string): Promise<boolean> {
  return (await run(lab, from, 'ping', '-n', '-c', '1', '-W', '1', to)).code === 0;
}

/** Every process of a lab and its hosts. */
export function processesOf(lab: Lab): readonly ProcessId[] {
  const inits = [lab.pid, ...lab.plan.hosts.flatMap(({ name }) => lab.pidOf(name) ?? [])];
  const namespaces = new Set(inits.map((pid) => readlinkSync(`/proc/${pid}/ns/pid`)));
  return readdirSync('/proc').flatMap((entry) => {
    try {
      if (!/^\d+$/.test(entry) || !namespaces.has(readlinkSync(`/proc/${entry}/ns/pid`))) return [];
    } catch {
      return []; // it ended meanwhile
    }
    const startTime = startTimeOf(Number(entry));
    return startTime === undefined ? [] : [{ pid: Number(entry), startTime }];
  });
}

/** What is left of a lab that is gone; nothing should be. */
export function leftovers(name: string, processes: readonly ProcessId[]): readonly string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
  const holders = readdirSync('/proc').filter((entry) => {
    try {
      return (
        /^\d+$/.test(entry) &&
        readFileSync(`/proc/${entry}/mountinfo`, 'utf8').includes(labDirectory(name))
      );
    } catch {
      return false;
    }
  });
  const named = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  return [
    ...processes.filter(isAlive).map(({ pid }) => `process ${pid}`),
    ...(mounts.includes(name) ? ['a mount'] : []),
    ...holders.map((pid) => `mounts in process ${pid}`),
    ...named.filter((one) => ['sw', 'ctl', 'edge-blue'].includes(one)).map((one) => `netns ${one}`),
    ...(existsSync(labDirectory(name)) ? [labDirectory(name)] : []),
  ];
}

/** Waits for what no event tells of. */
export async function until(what: string, holds: () => boolean, withinMs = 10_000): Promise<void> {
  const endMs = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`waited ${withinMs} ms in vain until ${what}`);
    await pause(2);
  }
}
