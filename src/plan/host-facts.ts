import { peersOf } from '../agent/enrolment.js';
import {
  attachSpecs,
  dispatchSpec,
  type HostFacts,
  namespaceName,
  nicsOf,
  personalityNamespace,
  serviceNamespace,
} from '../agent/specs.js';
import type { ClusterConfig, HostConfig, PersonalityConfig } from '../config/types.js';
import { rolesToKeepReady } from '../control/readiness.js';
import type { AssignmentRecord } from '../control/records.js';
import { configOf, parseRoleId, type Role, roleId, type View } from '../control/view.js';
import { preparedEpoch } from '../network/types.js';
import { maskOrders } from '../storage/mask-orders.js';
import { type AttachSpec, initiatorName } from '../storage/types.js';
import type { Fact } from './facts.js';
import { namespaceFacts, networkFacts } from './network-facts.js';

/** All that a host has once its agent has done what the store says. */
export function hostFacts(view: View, host: HostConfig): readonly Fact[] {
  const config = configOf(view);
  if (config === undefined) return [];
  const facts = {
    host: host.name,
    underlayInterface: host.interface,
    underlayAddress: host.address,
  };
  const roles = [...view.assignments].filter(([, { value }]) => value.host === host.name).sort();
  const ready = rolesToKeepReady(view, config, host.name).map(parseRoleId);
  const incarnation = view.hosts.get(host.name)?.value.incarnation ?? 0;
  return [
    ...heartbeats(view, config, host.name),
    ...networkFacts(view, config, facts, ready),
    ...roles.flatMap(([id, { value }]) => roleFacts(view, config, parseRoleId(id), value, facts)),
    ...ready.flatMap((role) => {
      const spec = personalityNamespace(config, role.name, preparedEpoch, incarnation);
      return namespaceFacts(spec, config, facts, `ready/${role.name}`);
    }),
  ];
}

function roleFacts(
  view: View,
  config: ClusterConfig,
  role: Role,
  { epoch, incarnation }: AssignmentRecord,
  host: HostFacts,
): readonly Fact[] {
  const owner = roleId(role);
  const spec =
    role.kind === 'personality'
      ? personalityNamespace(config, role.name, epoch, incarnation)
      : serviceNamespace(config, role.name, epoch, incarnation, true);
  const network = namespaceFacts(spec, config, host, owner);
  const namespace = `us-${namespaceName(role)}`;
  const nics = nicsOf(config, role);
  const announce: Fact = {
    id: `${namespace} announced`,
    kind: 'announce',
    state: { epoch, nics: JSON.stringify(nics.map(({ mac, addresses }) => [mac, addresses])) },
    inPlace: ['nics'],
    on: [namespace],
    silent: true,
    owner,
    text: `announce ${nics.flatMap(({ mac, addresses }) => addresses.map((one) => `${one.split('/')[0]} at ${mac}`)).join(', ')}`,
  };
  if (role.kind === 'service') {
    return [...network, ...dispatchFacts(view, config, role.name, namespace), announce];
  }
  const personality = config.personalities.find(({ name }) => name === role.name);
  if (personality === undefined) return network;
  const volumes = attachSpecs(view, config, role.name, host.host, epoch);
  return [
    ...network,
    ...volumes.flatMap((volume) => volumeFacts(volume, owner)),
    announce,
    ...workloadFacts(personality, epoch, namespace, volumes),
  ];
}

/** The service's table, ports and mode: written aside as a whole, then flipped to. */
function dispatchFacts(
  view: View,
  config: ClusterConfig,
  name: string,
  namespace: string,
): readonly Fact[] {
  const service = config.services.find((found) => found.name === name);
  if (service === undefined) return [];
  const { seed: _, ...spec } = dispatchSpec(view, service, 0);
  const members = spec.members.map(({ personality, weight }) => `${personality} ${weight}`);
  return [
    {
      id: `${namespace} dispatch`,
      kind: 'bpf',
      state: { spec: JSON.stringify(spec) },
      inPlace: ['spec'],
      on: [`${namespace}/link eth0`],
      owner: `service/${name}`,
      text: `dispatch ${service.addresses.join(', ')} by ${spec.hash} to ${members.join(', ')}`,
    },
  ];
}

function volumeFacts(spec: AttachSpec, owner: string): readonly Fact[] {
  const { cluster, personality, host, epoch, lun, target, targetLun } = spec;
  const initiator = initiatorName(cluster, personality, host, epoch);
  const session = `${personality}/LUN ${lun} session`;
  const reserved = spec.fence === 'reservation';
  return [
    {
      id: session,
      kind: 'iscsi',
      state: { target, targetLun, epoch },
      owner,
      text: `${reserved ? 'reserve and ' : ''}log in to ${target}, LUN ${targetLun}, at ${spec.portals.join(', ')} as ${initiator}`,
    },
    {
      id: mountId(personality, lun),
      kind: 'disk',
      state: {},
      on: [session],
      owner,
      text: `${mountText(spec)} at /run/understudy/${personality}/${lun}`,
    },
  ];
}

function mountText({ volume, filesystem, format, access }: AttachSpec): string {
  const notes = [
    ...(filesystem === 'none' ? [] : [filesystem]),
    ...(format === 'if-blank' ? ['made if the LUN is blank'] : []),
    ...(access === 'read-only' ? ['read-only'] : []),
  ];
  const what = filesystem === 'none' ? `show the device of ${volume}` : `mount ${volume}`;
  return notes.length === 0 ? what : `${what} (${notes.join(', ')})`;
}

const mountId = (personality: string, lun: number): string => `${personality}/LUN ${lun} mount`;

function workloadFacts(
  { name, workload, storage }: PersonalityConfig,
  epoch: number,
  namespace: string,
  volumes: readonly AttachSpec[],
): readonly Fact[] {
  if (workload.kind === 'none') return [];
  const what =
    workload.kind === 'unit' ? `systemctl start ${workload.unit}` : workload.command.join(' ');
  const mounts = storage.map(({ lun, mount }) => `${lun} ${mount}`).join(', ');
  return [
    {
      id: `${name} workload`,
      kind: 'workload',
      state: { workload: JSON.stringify(workload), mounts, epoch },
      inPlace: ['workload', 'mounts'],
      on: [namespace, ...volumes.map(({ lun }) => mountId(name, lun))],
      owner: `personality/${name}`,
      text: `run in ${namespace}: ${what}`,
    },
  ];
}

/** What pulse is told: to whom heartbeats go, and, on a controller, who is granted leases. */
function heartbeats(view: View, config: ClusterConfig, host: string): readonly Fact[] {
  if (!view.hosts.has(host) || !config.hosts.some(({ name }) => name === host)) return [];
  const { heartbeatMs, leaseMs, clockMarginPercent } = config.timing;
  const list = (names: readonly string[]) =>
    peersOf(config, names, 0)
      .map(({ name, address }) => `${name} ${address}`)
      .join(', ');
  const controllers = list(config.controllers);
  const sending: Fact = {
    id: 'heartbeats',
    kind: 'pulse',
    state: { controllers, heartbeatMs, leaseMs, clockMarginPercent },
    inPlace: ['controllers', 'heartbeatMs', 'leaseMs', 'clockMarginPercent'],
    owner: 'timing',
    text: `heartbeats every ${heartbeatMs} ms for leases of ${leaseMs} ms to ${controllers}`,
  };
  if (!config.controllers.includes(host)) return [sending];
  const hosts = list(config.hosts.map(({ name }) => name));
  const granting: Fact = {
    id: 'grants',
    kind: 'pulse',
    state: { hosts, leaseMs, clockMarginPercent },
    inPlace: ['hosts', 'leaseMs', 'clockMarginPercent'],
    owner: 'timing',
    text: `grant leases of ${leaseMs} ms to ${hosts}`,
  };
  return [sending, granting];
}

/** Whom each target lets in: what `understudy target` does beside it. */
export function maskFacts(view: View): readonly Fact[] {
  const config = configOf(view);
  if (config === undefined) return [];
  const assignments = new Map(
    config.personalities.flatMap(({ name }) => {
      const found = view.assignments.get(`personality/${name}`);
      return found === undefined ? [] : [[name, found.value] as const];
    }),
  );
  return maskOrders(config, assignments).map(({ target, personality, initiator, epoch }): Fact => {
    return {
      id: `mask ${target}`,
      kind: 'iscsi',
      state: { personality, initiator: initiator ?? '', epoch },
      inPlace: ['personality', 'initiator', 'epoch'],
      owner: personality === '' ? 'volumes' : `personality/${personality}`,
      text: `${target} lets in ${initiator ?? 'nobody'} alone`,
    };
  });
}
