import type { ClusterConfig } from '../config/types.js';
import { notMoved } from './moving.js';
import { type HoldReason, Survey } from './placement.js';
import { isSilent } from './silence.js';
import { incarnationId, type Role, roleId, type View } from './view.js';
import { isExpired } from './votes.js';

/** Why a role whose host was voted out is nowhere else yet; undefined where its host is well. */
export function waitingFor(view: View, config: ClusterConfig, role: Role): string | undefined {
  const assignment = view.assignments.get(roleId(role))?.value;
  if (assignment === undefined || assignment.host === null) return undefined;
  const { host, incarnation } = assignment;
  if (!isExpired(view, host, incarnation)) return undefined;
  const id = incarnationId(host, incarnation);
  if (!isSilent(view, host, incarnation)) {
    return config.hosts.find(({ name }) => name === host)?.power == null
      ? `${id} is voted out, but its lease is not enforced: make sure that ${host} is off, then say: understudy fenced ${host} --yes`
      : `${id} is voted out and its lease is not enforced: waiting for its power to be off`;
  }
  const choice = new Survey(view, config, { lapsed: new Set() }).replace(role, host);
  return choice.kind === 'hold'
    ? `${id} is voted out and nobody can take over: ${choice.reason}`
    : `${id} is voted out; ${choice.host} is to take over`;
}

/** Why a role is still on a host that is drained; undefined where its host is not. */
export function keptByDrain(view: View, config: ClusterConfig, role: Role): string | undefined {
  const assignment = view.assignments.get(roleId(role))?.value;
  if (assignment?.state !== 'assigned' || assignment.host === null) return undefined;
  const { host, reason } = assignment;
  if (!view.drained.has(host)) return undefined;
  const choice = new Survey(view, config, { lapsed: new Set() }).choose(role, new Set([host]));
  if (choice.kind === 'hold') return stuckText(host, choice.reason);
  return reason.startsWith(notMoved) ? reason : `${host} is drained: it moves when its turn comes`;
}

/** As the event that tells of it says too. */
export function stuckText(host: string, reason: HoldReason): string {
  return `stays on ${host}, which is drained: ${reason}`;
}
