import { type LabHost, switchNode } from './plan.js';
import { word } from './shell.js';
import type { Batch } from './wiring.js';

/** What is done to the switch's ports to make a node unreachable, and reachable again. */

/** Both ports of a host at once: one message to the kernel for each host, one process for all. */
export function cutPower(hosts: readonly LabHost[]): Batch {
  const lines = hosts.map(({ portGroup }) => `link set group ${portGroup} down`);
  return { node: switchNode, lines };
}

export function removePorts(host: LabHost): Batch {
  return { node: switchNode, lines: [`link del group ${host.portGroup}`] };
}

function setPorts(ports: readonly string[], state: 'up' | 'down'): Batch {
  return { node: switchNode, lines: ports.map((port) => `link set dev ${port} ${state}`) };
}

/** Which way a cut goes, as the node sees it: `in`: it hears nothing, `out`: nothing of it is heard. */
export type Direction = 'both' | 'in' | 'out';

/**
 * Cuts these ports of the switch. Both ways is a cable pulled out; one way is a filter that drops
 * whatever comes: classic BPF that returns TC_ACT_SHOT, which every kernel with cls_bpf takes.
 */
export function cutPorts(ports: readonly string[], direction: Direction): readonly Batch[] {
  if (direction === 'both') return [setPorts(ports, 'down')];
  // What the switch sends out of its port is what the node hears.
  const hook = direction === 'in' ? 'egress' : 'ingress';
  const lines = ports.flatMap((port) => [
    `qdisc replace dev ${port} clsact`,
    `filter replace dev ${port} ${hook} prio 1 protocol all bpf da bytecode "1,6 0 0 2,"`,
  ]);
  return [{ node: switchNode, tool: 'tc', lines }];
}

/**
 * Shell that takes every cut back. Only a filter that is there is taken away: the kernel stops a
 * device's queues for a moment whenever such a qdisc comes or goes (qdisc_graft, sch_api.c).
 */
export function joinPorts(ports: readonly string[]): string {
  return `set -e
for port in ${ports.map(word).join(' ')}; do
  nsenter --net=/run/netns/${switchNode} sh -c '
    if tc qdisc show dev "$1" | grep -q clsact; then tc qdisc del dev "$1" clsact; fi
    ip link set dev "$1" up' join "$port"
done`;
}
