import { must, type Stage } from '../src/demo/stage.js';
import type { FlowWatch } from '../src/observe/flow-watch.js';
import { Capture } from '../src/observe/observers.js';

/** Health checks of the service below. */
export const intervalMs = 200;
export const service = '10.10.0.100';
export const members = { web1: '10.10.0.11', web2: '10.10.0.12' } as const;
export type Member = keyof typeof members;

const server = new URL('../test/lab/echo-server.js', import.meta.url).pathname;
/** Long enough to be seen as down; a workload's own restart would bring it back at once. */
const downSeconds = 2;

/** A server that a loop starts anew some time after it ended; its process ID is in a file. */
const workload = (name: string) =>
  `[sh, -c, "while :; do ${process.execPath} ${server} ${name} & echo $! > /tmp/${name}.pid; wait; sleep ${downSeconds}; done"]`;

/** Two members behind one address, each on a host of its own; nothing else runs but what is measured. */
export const clusterFile = (cluster: string) => `
cluster: ${cluster}
controllers: [h1, h2, h3]
hosts: [{name: h1}, {name: h2}, {name: h3}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
personalities:
${Object.entries(members)
  .map(
    ([name, address]) => `  - name: ${name}
    networks: [{network: blue, address: ${address}/24}]
    workload: {command: ${workload(name)}}
`,
  )
  .join('')}
services:
  - name: web
    network: blue
    address: ${service}
    ports: [{protocol: tcp, port: 80}]
    members: [web1, web2]
    hash: source-ip-port
    health: {tcp: 80, every: ${intervalMs}ms}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
`;

export interface Death {
  /** New flows that went to the dead member. */
  readonly refused: number;
  /** From just before the kill to the last flow that was opened to the dead member, ms. */
  readonly lastMs: number;
  /** From just before the kill to the check's second refusal: then it is decided. */
  readonly decidedMs: number;
}

const answerMs = 10_000;
/** So many flows in a row that nobody refused: one in two would have gone to the dead member. */
const clean = 100;

/**
 * Kills a member's process and looks from outside: at a client that opens flows, and at the checks as they
 * pass the member's loopback. Returns when the member is back.
 */
export async function killMember(stage: Stage, flows: FlowWatch, name: Member): Promise<Death> {
  const refusals = `src host ${members[name]} and tcp[tcpflags] & tcp-rst != 0`;
  const checks = new Capture(stage.lab, name, 'lo', refusals);
  await checks.ready;
  const kill = `read pid < /tmp/${name}.pid && date +%s.%N && kill -9 $pid`;
  const killedMs = Number(await must(stage, name, ['sh', '-c', kill])) * 1_000;
  await flows.until(
    'no new flow goes to the dead member',
    () => {
      const after = flows.flows.filter(({ atMs }) => atMs > killedMs);
      const last = after.findLastIndex(({ how }) => how === 'refused');
      return last >= 0 && after.length - last > clean;
    },
    answerMs,
  );
  await stage.until(
    'it is known to be down',
    (status) => healthOf(status, name) === 'down',
    answerMs,
  );
  const refused = flows.flows.filter(({ atMs, how }) => atMs > killedMs && how === 'refused');
  await checks.stop();
  const decidedAtMs = checks.frames.filter(({ atMs }) => atMs > killedMs)[1]?.atMs ?? Number.NaN;
  await stage.until('it is back', (status) => healthOf(status, name) === 'up', answerMs);
  return {
    refused: refused.length,
    lastMs: Math.max(...refused.map(({ atMs }) => atMs)) - killedMs,
    decidedMs: decidedAtMs - killedMs,
  };
}

/** Both members answer, and the client's flows are all taken. */
export async function untilBothServe(stage: Stage, flows: FlowWatch): Promise<void> {
  await stage.until(
    'the service runs with two members',
    ({ services, personalities }) =>
      services[0]?.phase === 'running' &&
      personalities.every(({ phase }) => phase === 'running') &&
      services[0].members.every(({ health }) => health === 'up'),
    20_000,
  );
  await flows.until(
    'every flow is taken',
    () =>
      flows.flows.length >= clean && flows.flows.slice(-clean).every(({ how }) => how === 'taken'),
    answerMs,
  );
}

function healthOf({ services }: Awaited<ReturnType<Stage['status']>>, name: string) {
  return services[0]?.members.find(({ personality }) => personality === name)?.health;
}
