import { nicsOf } from '../agent/specs.js';
import { fenceOf } from '../control/fence-change.js';
import { configOf, parseRoleId, type View } from '../control/view.js';
import { isShutOut } from '../control/votes.js';
import { sharedTargets } from '../storage/mask-orders.js';
import type { Foresight } from './foresee.js';
import type { Operation } from './types.js';

/** What `apply` would accept and which would then not work, or hurt. */
export function warningsOf(
  before: View,
  after: Foresight,
  operations: readonly Operation[],
): readonly string[] {
  return [
    ...hosts(before, after.view),
    ...absent(after.view),
    ...holds(after),
    ...networks(operations),
    ...renamed(before, after.view),
    ...volumes(before, after.view),
    ...reservations(before, after.view),
    ...shared(after.view),
  ];
}

function hosts(before: View, after: View): readonly string[] {
  const young = configOf(after)?.hosts ?? [];
  return (configOf(before)?.hosts ?? []).flatMap((old): string[] => {
    const now = young.find(({ name }) => name === old.name);
    if (now === undefined) return [];
    if (now.address === old.address && now.interface === old.interface) return [];
    return [
      `${old.name} has another address or interface: change its agent.yaml and pulse.yaml too, and restart both`,
    ];
  });
}

function absent(after: View): readonly string[] {
  const config = configOf(after);
  return (config?.hosts ?? []).flatMap(({ name }): string[] => {
    const record = after.hosts.get(name)?.value;
    if (record === undefined) {
      return [`${name} has not enrolled: it is left out until its agent runs`];
    }
    if (config === undefined || !isShutOut(after, name, record.incarnation)) return [];
    return [`${name} is down: it does its part once it is back`];
  });
}

function holds({ holds }: Foresight): readonly string[] {
  return holds.map(({ role, reason }) => `${role.kind} ${role.name} stays unplaced: ${reason}`);
}

/** A device that is made anew under NICs that stand is refused by the host (US_NET_IN_USE). */
function networks(operations: readonly Operation[]): readonly string[] {
  return operations.flatMap(({ at, action, object, kind }): string[] => {
    if (kind !== 'netlink' || action !== 'remove' || !/^usn-.*\/link /.test(object)) return [];
    const again = operations.some(
      (one) => one.at === at && one.action === 'add' && one.object === object,
    );
    const standing = operations.filter(
      (one) =>
        one.at === at &&
        one.kind === 'netlink' &&
        one.action === 'remove' &&
        one.state.on === object &&
        operations.some(
          (other) => other.at === at && other.action === 'add' && other.object === one.object,
        ),
    );
    if (!again || standing.length === 0) return [];
    const roles = standing.map((one) => one.object.replace(/^us-|\/.*$/g, '')).join(', ');
    return [
      `${at} refuses to change ${object.split('/')[0]?.slice('usn-'.length)} while ${roles} stands on it (US_NET_IN_USE): give the network another name, or take its roles out first`,
    ];
  });
}

/** One VLAN or VNI is one device on a host, and the old one cannot go while NICs stand on it. */
function renamed(before: View, after: View): readonly string[] {
  const [old, young] = [configOf(before), configOf(after)];
  if (old === undefined || young === undefined) return [];
  return young.networks.flatMap(({ name, fabric, id }): string[] => {
    const former = old.networks.find(
      (one) => one.fabric === fabric && one.id === id && one.name !== name,
    );
    if (former === undefined || fabric === 'untagged') return [];
    const roles = [...before.assignments].flatMap(([text, { value }]) => {
      const role = parseRoleId(text);
      const stands = nicsOf(old, role).some(({ network }) => network === former.name);
      return stands && value.host !== null ? [role.name] : [];
    });
    if (roles.length === 0) return [];
    return [
      `${name} has the ${fabric} ${id} of ${former.name}, on which ${roles.join(', ')} stand: hosts refuse it (US_NET_EXISTS), and hear of no takeover there; give it another id, or take these roles out first`,
    ];
  });
}

/** The target closes a volume as soon as the file takes it away: nothing can be written back then. */
function volumes(before: View, after: View): readonly string[] {
  const young = configOf(after)?.personalities ?? [];
  return (configOf(before)?.personalities ?? []).flatMap(({ name, storage }) => {
    const kept = young.find((one) => one.name === name)?.storage;
    // One that leaves as a whole stops in good order, and its volumes wait for that.
    if (kept === undefined) return [];
    const host = before.assignments.get(`personality/${name}`)?.value.host;
    if (host === null || host === undefined) return [];
    return storage
      .filter(({ lun, volume }) => !kept.some((one) => one.lun === lun && one.volume === volume))
      .map(
        ({ volume }) =>
          `${volume} is taken from ${name} while it runs: the target lets it write nothing back; stop what writes and sync first`,
      );
  });
}

/** What was reserved stays so: the target asks nobody's file. */
function reservations(before: View, after: View): readonly string[] {
  const [old, young] = [configOf(before), configOf(after)];
  if (old === undefined || young === undefined) return [];
  return old.volumes
    .filter((volume) => fenceOf(volume) === 'reservation')
    .flatMap(({ name, portals, target, lun }): string[] => {
      const now = young.volumes.find((one) => one.target === target && one.lun === lun);
      if (now !== undefined && fenceOf(now) === 'reservation') return [];
      const where =
        now?.name ?? `--portal ${portals[0] ?? 'PORTAL'} --target ${target} --lun ${lun} --yes`;
      return [
        `${name} may stay reserved by its last owner, and then nobody else can write it: understudy reservation clear ${where}`,
      ];
    });
}

function shared(after: View): readonly string[] {
  const config = configOf(after);
  if (config === undefined) return [];
  return [...sharedTargets(config)].map(
    ([target, owners]) =>
      `${target} has volumes of ${owners.join(', ')}: its mask is left alone, so it is no fence`,
  );
}
