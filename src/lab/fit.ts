import type { ClusterConfig } from '../config/types.js';
import { type LabPlan, portal } from './plan.js';

/**
 * A cluster file as it means this running lab: hosts have the lab's addresses, volumes on its target the
 * lab's portal, networks with clients the edge as a gateway, and the store is the lab's own. So the
 * file that a lab was started from can be changed and applied again.
 */
export function fitToLab(config: ClusterConfig, plan: LabPlan): ClusterConfig {
  const offered = new Set(plan.targets.map(({ target }) => target));
  return {
    ...config,
    store: plan.config.store,
    hosts: config.hosts.map((host) => {
      const known = plan.config.hosts.find(({ name }) => name === host.name);
      return known === undefined
        ? host
        : { ...host, address: known.address, interface: known.interface };
    }),
    networks: config.networks.map((network) => {
      // Edges were made by the fabric that each network had when the lab was built.
      const edges = plan.edges.filter(
        (edge) => edge.network === network.name && edge.fabric === 'vxlan',
      );
      const underlays = edges.map(({ underlay }) => underlay);
      const missing = underlays.filter((address) => !network.gateways.includes(address));
      const fabric = plan.config.networks.find(({ name }) => name === network.name)?.fabric;
      const decided = network.fabric === 'auto' ? (fabric ?? 'auto') : network.fabric;
      return decided === 'vlan' || decided === 'untagged'
        ? { ...network, fabric: decided }
        : { ...network, fabric: decided, gateways: [...network.gateways, ...missing] };
    }),
    volumes: config.volumes.map((volume) =>
      offered.has(volume.target) ? { ...volume, portals: [portal] } : volume,
    ),
  };
}
