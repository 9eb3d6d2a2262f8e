import { spawn } from 'node:child_process';
import type { Test } from 'tap';
import { parseClusterFile } from '../../src/config/parse.js';
import { Claims } from '../../src/demo/claims.js';
import { openStage } from '../../src/demo/open-stage.js';
import { must, personality, type Stage } from '../../src/demo/stage.js';
import type { Lab, LabOptions } from '../../src/lab/lab.js';
import { collect } from '../../src/lab/shell.js';

/** Four hosts, one LAN (IPv4 alone, so that only the announcement speaks), two members, a client. */
export const pair = `
cluster: CLUSTER
controllers: [h1, h2, h3]
hosts: [{name: h1}, {name: h2}, {name: h3}, {name: h4}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
volumes:
  - {name: web1-data, target: "iqn.2026-11.example.lab:web1", lun: 1, format: if-blank}
personalities:
  - name: web1
    networks: [{network: blue, address: 10.10.0.11/24}]
    storage: [{lun: 0, volume: web1-data, mount: /srv/www}]
    workload: {command: [busybox, httpd, -f, -p, "80", -h, /srv/www]}
  - name: web2
    networks: [{network: blue, address: 10.10.0.12/24}]
    workload: {command: [busybox, httpd, -f, -p, "80", -h, /usr/share]}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
  storage: [{target: "iqn.2026-11.example.lab:web1", luns: [{lun: 1, size: 64MiB}]}]
`;

export async function openLab(
  t: Test,
  cluster: string,
  settings: Pick<LabOptions, 'agentSettings' | 'hostInit' | 'programs'> = {},
  file = pair,
): Promise<{ stage: Stage; lab: Lab }> {
  const parsed = parseClusterFile(file.replace('CLUSTER', cluster));
  if (!parsed.ok || parsed.lab === undefined) throw new Error('the test’s own file is broken');
  const stop = new AbortController();
  const say = (line: string) => t.comment(line);
  const opened = await openStage(
    parsed.config,
    parsed.lab,
    new Claims(),
    say,
    stop.signal,
    settings,
  );
  t.teardown(async () => {
    stop.abort();
    await opened.close();
  });
  return opened;
}

/** Waits until the host is up again under a later incarnation, with nothing on it, a controller as one. */
export async function untilSpare(
  stage: Stage,
  host: string,
  incarnation: number,
  limitMs = 30_000,
): Promise<void> {
  const status = await stage.until(
    `${host} is a spare again`,
    ({ hosts }) =>
      hosts.some(
        (one) =>
          one.name === host &&
          one.state === 'up' &&
          one.incarnation > incarnation &&
          // A controller that is still starting takes part in no majority.
          one.granting === one.controller,
      ),
    limitMs,
  );
  const back = status.hosts.find(({ name }) => name === host);
  if (back?.personalities.length !== 0) throw new Error(`${host} carries something`);
}

export function incarnationOf(status: Awaited<ReturnType<Stage['status']>>, host: string): number {
  return status.hosts.find(({ name }) => name === host)?.incarnation ?? 0;
}

const program = new URL('../../../bin/understudy', import.meta.url).pathname;

/** A command as a user types it, in the running lab. */
export async function understudy(lab: Lab, ...argv: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, [program, ...argv, '--lab', lab.name]);
  const { code, stdout, stderr } = await collect(child);
  if (code !== 0) throw new Error(`understudy ${argv.join(' ')}: ${code} ${stderr}`);
  return stdout;
}

/** Waits until the personality runs under this epoch. */
export function untilRuns(stage: Stage, name: string, epoch: number) {
  return stage.until(
    `${name} runs as epoch ${epoch}`,
    (status) => {
      const one = personality(status, name);
      return one.phase === 'running' && one.epoch === epoch;
    },
    20_000,
  );
}

/**
 * Waits until something listens on port 80 of each address, as the node sees it: a workload that was
 * started need not listen yet, and a refused connection is not tried again.
 */
export async function untilListening(
  stage: Stage,
  node: string,
  addresses: readonly string[],
  seconds = 20,
): Promise<void> {
  const script =
    'for one; do until (exec 3<>/dev/tcp/$one/80) 2>/dev/null; do sleep 0.02; done; done';
  await must(stage, node, ['timeout', String(seconds), 'bash', '-c', script, 'bash', ...addresses]);
}
