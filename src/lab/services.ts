import { startLio } from './lio.js';
import type { BesidePlan } from './machine.js';
import { type LabPlan, portal, portName, storageNode } from './plan.js';
import { word } from './shell.js';

/** Shell for what runs beside the hosts: etcd, the iSCSI target and its daemon. */

/** Starts a daemon in a node, on its own, with a log; its number is in `run/NAME.pid`. */
function daemon(directory: string, node: string, name: string, command: string): string {
  const log = `${directory}/logs/${name}.log`;
  // A machine of its own: what else this one does must not slow it down. Where the kernel shares the
  // processors out among sessions, its session goes first; elsewhere its niceness decides (sched(7)).
  const favoured = `bash -c 'echo -10 > /proc/self/autogroup; exec "$@"' ${name}`;
  return `setsid nice -n -10 ${favoured} nsenter --net=/run/netns/${node} ${command} < /dev/null >> ${log} 2>&1 &
echo $! > ${directory}/run/${name}.pid`;
}

/** The members on these nodes, new or with what they kept of an earlier life. */
export function startEtcd(directory: string, plan: LabPlan, nodes: readonly string[]): string {
  const peers = plan.etcd.map(({ node, address }) => `${node}=http://${address}:2380`).join(',');
  return plan.etcd
    .filter(({ node }) => nodes.includes(node))
    .map(({ node, address }) => {
      const client = `http://${address}:2379`;
      const peer = `http://${address}:2380`;
      const command = [
        `etcd --name ${node} --data-dir ${directory}/etcd/${node}`,
        `--listen-client-urls ${client} --advertise-client-urls ${client}`,
        `--listen-peer-urls ${peer} --initial-advertise-peer-urls ${peer}`,
        `--initial-cluster ${peers} --initial-cluster-state new`,
        '--heartbeat-interval 40 --election-timeout 200 --logger zap --log-level warn',
      ];
      return daemon(directory, node, node, command.join(' '));
    })
    .join('\n');
}

/** The targets, nobody let in yet: `understudy target` opens them one by one. */
export function startTarget(directory: string, plan: LabPlan): string {
  return plan.targetKind === 'lio' ? startLio(directory, plan) : startTgt(directory, plan);
}

function startTgt(directory: string, plan: LabPlan): string {
  const socket = `TGT_IPC_SOCKET=${directory}/tgt/socket`;
  const admin = `tgtadm -C 1 --lld iscsi`;
  const log = `${directory}/logs/tgtd.log`;
  return [
    'set -e',
    `export ${socket}`,
    daemon(directory, storageNode.name, 'tgtd', `tgtd -f -C 1 --iscsi portal=${portal}`),
    // tgtadm answers only once the daemon listens on its socket, and nothing else tells.
    'ready=',
    'for try in $(seq 500); do',
    `  if ${admin} --op show --mode system > /dev/null 2>&1; then ready=1; break; fi`,
    '  sleep 0.01',
    'done',
    `if [ -z "$ready" ]; then tail -n 3 ${log} >&2; echo 'tgtd does not answer' >&2; exit 1; fi`,
    ...plan.targets.flatMap(({ id, target, luns }) => [
      `${admin} --op new --mode target --tid ${id} -T ${word(target)}`,
      ...luns.flatMap(({ lun, sizeBytes, file }) => [
        `truncate -s ${sizeBytes} ${directory}/${file}`,
        `${admin} --op new --mode logicalunit --tid ${id} --lun ${lun} -b ${directory}/${file}`,
      ]),
    ]),
  ].join('\n');
}

/** Keeps `understudy target` running: masks follow the store. */
export function startTargetDaemon(directory: string): string {
  const command = `nsenter --net=/run/netns/${storageNode.name} bash ${directory}/keep-running ${directory}/run target`;
  const log = `${directory}/logs/target.log`;
  return `export TGT_IPC_SOCKET=${directory}/tgt/socket
setsid ${command} < /dev/null >> ${log} 2>&1 &`;
}

/** The nodes beside the hosts, and how each is started again. */
export function besidePlans(directory: string, plan: LabPlan): readonly BesidePlan[] {
  const internal = (node: string) => portName('int', node, 0);
  const storage = storageNode.name;
  return [
    ...plan.etcd.map(({ node }) => ({
      name: node,
      ports: { internal: internal(node) },
      daemons: [node],
      start: startEtcd(directory, plan, [node]),
    })),
    {
      name: storage,
      ports: { internal: internal(storage), storage: portName('sto', storage, 0) },
      daemons: plan.targetKind === 'lio' ? ['target'] : ['tgtd', 'target'],
      start: undefined,
    },
  ];
}
