import { parseClusterFile } from '../src/config/parse.js';
import { Claims } from '../src/demo/claims.js';
import { openStage } from '../src/demo/open-stage.js';
import { must, type Stage } from '../src/demo/stage.js';
import type { Lab } from '../src/lab/lab.js';
import { storageNode } from '../src/lab/plan.js';
import { labDirectory } from '../src/lab/state.js';
import { peerLun, peerTarget } from './volume-agent.js';

export interface Timing {
  readonly name: string;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  /** keepalived's, beside it. */
  readonly advertMs: number;
  /** The smallest cluster: three hosts, each a controller that may carry something too. */
  readonly small?: boolean;
}

export const defaultTiming: Timing = {
  name: 'default',
  heartbeatMs: 50,
  leaseMs: 200,
  advertMs: 100,
};
export const fastTiming: Timing = { name: 'fast', heartbeatMs: 10, leaseMs: 50, advertMs: 20 };
export const smallTiming: Timing = { ...fastTiming, name: 'small', small: true };
export const threeTiming: Timing = { ...defaultTiming, name: 'three', small: true };

/** Personality → its address: one with a LUN and a web server that reads from it, one without. */
export const addresses = { disk: '10.10.0.11', plain: '10.10.0.12' } as const;
export type Kind = keyof typeof addresses;

/** Controllers that carry nothing, so that a controller's end is not the owner's. */
const apart = ['c1', 'c2', 'c3'];

/** Two hosts that carry something, a spare, and three controllers; etcd on nodes of its own. */
const file = ({ heartbeatMs, leaseMs, small = false }: Timing) => `
cluster: bench
controllers: [${(small ? ['h1', 'h2', 'h3'] : apart).join(', ')}]
timing: {heartbeat: ${heartbeatMs}ms, lease: ${leaseMs}ms}
hosts:
${small ? '' : apart.map((name) => `  - {name: ${name}, pool: none}\n`).join('')}  - {name: h1}
  - {name: h2}
  - {name: h3}
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
volumes:
  - {name: data, target: "iqn.2026-11.example.lab:data", lun: 1, format: if-blank}
personalities:
  - name: disk
    networks: [{network: blue, address: ${addresses.disk}/24}]
    storage: [{lun: 0, volume: data, mount: /srv/www}]
    workload: {command: [busybox, httpd, -f, -p, "80", -h, /srv/www]}
  - name: plain
    networks: [{network: blue, address: ${addresses.plain}/24}]
lab:
  clients: [{name: client, network: blue, address: 10.10.0.200/24}]
  storage:
    - {target: "iqn.2026-11.example.lab:data", luns: [{lun: 1, size: 64MiB}]}
    - {target: "${peerTarget}", luns: [{lun: ${peerLun}, size: 64MiB}]}
`;

export interface Bench {
  readonly stage: Stage;
  readonly lab: Lab;
  close(): Promise<void>;
}

export async function openBench(timing: Timing, signal: AbortSignal): Promise<Bench> {
  const parsed = parseClusterFile(file(timing));
  if (!parsed.ok || parsed.lab === undefined) throw new Error('the benchmark’s own file is broken');
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  const bench = await openStage(parsed.config, parsed.lab, new Claims(), say, signal);
  const write = 'echo disk > /srv/www/name && sync /srv/www/name';
  await must(bench.stage, 'disk', ['sh', '-c', write]);
  await openPeerTarget(bench.lab);
  return bench;
}

/** A target of no volume is nobody's to mask: who asks may log in. */
async function openPeerTarget(lab: Lab): Promise<void> {
  const socket = `TGT_IPC_SOCKET=${labDirectory(lab.name)}/tgt/socket`;
  const bind = '--op bind --mode target --tid 2 -I ALL'.split(' ');
  const argv = ['env', socket, 'tgtadm', '-C', '1', '--lld', 'iscsi', ...bind];
  const { code, stderr } = await lab.exec(lab.command(storageNode.name, argv));
  if (code !== 0) throw new Error(`tgtadm ${bind.join(' ')}: ${stderr}`);
}
