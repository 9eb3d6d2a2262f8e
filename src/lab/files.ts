import { stringify } from 'yaml';
import type { LabHost, LabPlan } from './plan.js';

/** Files that a lab gives its daemons, by their path in the lab's folder. */
export interface LabFile {
  readonly path: string;
  readonly content: string;
}

const pulsePort = 7411;

export function hostFiles(
  plan: LabPlan,
  host: LabHost,
  key: string,
  agentSettings: Readonly<Record<string, unknown>>,
): readonly LabFile[] {
  const { config } = plan;
  const agent = {
    host: host.name,
    cluster: config.cluster,
    store: { endpoints: config.store.endpoints },
    pulsePort,
    underlayInterface: 'eth1',
    underlayAddress: host.internal,
    ...agentSettings,
  };
  const pulse = { bind: host.internal, port: pulsePort };
  const folder = `hosts/${host.name}`;
  return [
    { path: `${folder}/agent.yaml`, content: stringify(agent) },
    { path: `${folder}/pulse.yaml`, content: stringify(pulse) },
    { path: `${folder}/cluster.key`, content: `${key}\n` },
  ];
}

/** `directory`: the lab's own folder, which goes with it. */
export function targetFile(plan: LabPlan, directory: string): string {
  const { config } = plan;
  return stringify({
    cluster: config.cluster,
    store: { endpoints: config.store.endpoints },
    targets: 'tgt',
    controlPort: 1,
    ipcSocket: `${directory}/tgt/socket`,
    stateDirectory: `${directory}/tgt`,
  });
}
