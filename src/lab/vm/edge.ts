import { ensureFilter } from '../../bpf/attach.js';
import { keyOf32, loadOnPins } from '../../bpf/programs.js';
import { updateElement } from '../../ffi/bpf-map.js';
import type { LabEdge } from '../plan.js';

/**
 * Makes an edge's own port one of its VLAN on the trunk, without a VLAN device: the kernel that carries the
 * lab may have no 802.1Q, only its guests'.
 *
 * @throws {UnderstudyError} US_BPF_LOAD, US_BPF_ATTACH
 */
export function tagByBpf(edge: Pick<LabEdge, 'id'>, namespacePath: string): void {
  const { object } = loadOnPins({ bpffs: '/sys/fs/bpf' }, 'edge', []);
  try {
    const id = Buffer.alloc(4);
    id.writeUInt32LE(edge.id);
    updateElement(object.map('edge_vlan'), keyOf32(0), id);
    const spot = { namespacePath, interfaceName: 'eth0', priority: 1, handle: 1 } as const;
    ensureFilter({ ...spot, hook: 'ingress' }, object.program('us_edge_in'));
    ensureFilter({ ...spot, hook: 'egress' }, object.program('us_edge_out'));
  } finally {
    object.close();
  }
}
