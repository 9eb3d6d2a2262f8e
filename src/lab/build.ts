import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { inNetworkNamespace } from '../ffi/namespace.js';
import { type LabSoftware, labFiles, writeLabFiles } from './files.js';
import type { Host } from './host.js';
import { namespacePath, runBatch, runBatches, runScript } from './inside.js';
import { controlNode, type LabPlan, switchNode } from './plan.js';
import { startEtcd, startTarget } from './services.js';
import { tagByBpf } from './vm/edge.js';
import {
  addBridges,
  addEdge,
  addNodes,
  bringUp,
  type Cable,
  floodFrom,
  knowNics,
  layCables,
  planNetwork,
  plugPorts,
} from './wiring.js';

export interface BuildSite extends LabSoftware {
  readonly labPid: number;
  /** The lab's folder, as the lab sees it. */
  readonly directory: string;
  readonly plan: LabPlan;
  readonly hosts: readonly Host[];
}

/** Builds the networks, starts etcd and the iSCSI target, and gives every host power. */
export async function buildNodes(site: BuildSite): Promise<void> {
  const { labPid, directory, plan } = site;
  const key = randomBytes(32).toString('base64');
  const files = labFiles(plan, directory, key, site);
  writeLabFiles(`/proc/${labPid}/root${directory}`, files);
  const etcdNodes = plan.etcd.map(({ node }) => node);
  await buildNetwork(labPid, plan);
  await Promise.all([
    runScript(labPid, 'start etcd', startEtcd(directory, plan, etcdNodes)),
    runScript(labPid, 'start the iSCSI target', startTarget(directory, plan)),
    ...site.hosts.map((host) => host.powerOn()),
  ]);
}

async function buildNetwork(labPid: number, plan: LabPlan): Promise<void> {
  const { nodes, cables } = planNetwork(plan);
  const what = 'build the networks';
  await runBatch(labPid, what, addNodes(nodes));
  // What only switches must not speak itself: no router solicitations, no multicast reports.
  for (const node of [switchNode, ...plan.edges.map((edge) => edge.node)]) {
    inNetworkNamespace(namespacePath(labPid, node), () => {
      for (const scope of ['all', 'default']) {
        writeFileSync(`/proc/sys/net/ipv6/conf/${scope}/disable_ipv6`, '1');
      }
    });
  }
  await runBatch(labPid, what, addBridges());
  await runBatches(labPid, what, layCables(cables));
  for (const edge of plan.edges) {
    const byBpf = plan.backend === 'vm' && edge.fabric === 'vlan';
    await runBatch(labPid, what, addEdge(byBpf ? { ...edge, fabric: 'untagged' } : edge));
    if (byBpf) tagByBpf(edge, namespacePath(labPid, edge.node));
  }
  await runBatches(labPid, what, plugPorts(cables));
  await Promise.all([
    runBatches(labPid, what, bringUp(cables)),
    runScript(labPid, what, computeChecksums(cables)),
    runBatch(labPid, what, knowNics(cables)),
    ...plan.edges.map((edge) => runBatch(labPid, what, floodFrom(edge, plan.hosts))),
  ]);
}

/**
 * A veth leaves checksums to hardware that is not there; who reads frames off it (a capture, a program
 * that redirects) would see wrong ones.
 */
function computeChecksums(cables: readonly Cable[]): string {
  return cables
    .map(({ node, device }) =>
      node === controlNode.name
        ? `ethtool -K ${device} tx off > /dev/null`
        : `nsenter --net=/run/netns/${node} ethtool -K ${device} tx off > /dev/null`,
    )
    .join('\n');
}
