import type { ClusterConfig, PowerConfig } from '../config/types.js';
import { isSilent } from './silence.js';
import { incarnationId, type View } from './view.js';
import { isExpired } from './votes.js';

/**
 * Power fencing: which hosts to switch off. Only hosts that were voted out and are not proven silent,
 * that is, whose lease the kernel does not enforce; and only what still names a role.
 *
 * To a controller that is cut off, everybody looks dead. So there are brakes here, and only here:
 * where the lease proves silence, a takeover harms nobody and is never held up.
 */
export interface FencingState {
  /** By role: hosts switched off for its sake, and when the last was; boot clock, ms. */
  readonly shots: ReadonlyMap<string, { readonly count: number; readonly lastMs: number }>;
  /** By `incarnationId`: tries that failed in a row, and when the last ended. */
  readonly failures: ReadonlyMap<string, { readonly count: number; readonly lastMs: number }>;
  /** `incarnationId` of hosts that are being switched off now. */
  readonly underWay: ReadonlySet<string>;
}

export const initialFencing: FencingState = {
  shots: new Map(),
  failures: new Map(),
  underWay: new Set(),
};

export type FencingReason =
  | 'no-power-fencing' // a person must say that it is off
  | 'too-many-hosts-at-once' // a partition looks like this; switching off would make it worse
  | 'backing-off'; // its roles had hosts switched off for them again and again, or the agent failed

export type FencingVerdict =
  | {
      readonly kind: 'switch-off';
      readonly host: string;
      readonly incarnation: number;
      readonly power: PowerConfig;
      /** For whose sake. */
      readonly roles: readonly string[];
      readonly reason: string;
    }
  | {
      readonly kind: 'hold';
      readonly host: string;
      readonly incarnation: number;
      readonly reason: FencingReason;
    };

export type SwitchOff = Extract<FencingVerdict, { kind: 'switch-off' }>;

export interface FencingStep {
  readonly state: FencingState;
  readonly verdicts: readonly FencingVerdict[];
  /** When to look again though nothing happens. */
  readonly wakeAtMs: number | undefined;
}

const firstRetryMs = 2_000;
const longestRetryMs = 5 * 60_000;
/** A role's second host within this time waits, its third twice as long, and so on. */
const pingPongMs = 60_000;
const longestPingPongMs = 64 * pingPongMs;
/** Longer than the longest wait: else that would begin anew with the shortest. */
const forgetShotsMs = 2 * longestPingPongMs;

export function decideFencing(before: FencingState, view: View, nowMs: number): FencingStep {
  const config = view.config?.value.config;
  if (config === undefined) return { state: before, verdicts: [], wakeAtMs: undefined };
  const suspects = suspectsOf(view);
  const state = forget(before, suspects, nowMs);
  const verdicts: FencingVerdict[] = [];
  const underWay = new Set(state.underWay);
  let wakeAtMs: number | undefined;
  for (const [id, suspect] of suspects) {
    if (underWay.has(id)) continue;
    const { host, incarnation, roles } = suspect;
    const power = config.hosts.find(({ name }) => name === host)?.power ?? null;
    const hold = (reason: FencingReason) =>
      verdicts.push({ kind: 'hold', host, incarnation, reason });
    if (power === null) hold('no-power-fencing');
    else if (tooMany(config, host, suspects)) hold('too-many-hosts-at-once');
    else {
      const fromMs = Math.max(retryFromMs(state, id), shotFromMs(state, roles));
      if (nowMs < fromMs) {
        wakeAtMs = Math.min(wakeAtMs ?? fromMs, fromMs);
        hold('backing-off');
        continue;
      }
      underWay.add(id);
      const reason = `${id} was voted out and its lease is not enforced`;
      verdicts.push({ kind: 'switch-off', host, incarnation, power, roles, reason });
    }
  }
  return { state: { ...state, underWay }, verdicts, wakeAtMs };
}

/** The agent's answer: that host is off, or it could not be made sure. */
export function fencingEnded(
  state: FencingState,
  { host, incarnation, roles }: SwitchOff,
  off: boolean,
  nowMs: number,
): FencingState {
  const id = incarnationId(host, incarnation);
  const underWay = new Set(state.underWay);
  underWay.delete(id);
  const failures = new Map(state.failures);
  const shots = new Map(state.shots);
  const oneMore = (kept: { readonly count: number } | undefined) => ({
    count: (kept?.count ?? 0) + 1,
    lastMs: nowMs,
  });
  if (off) {
    failures.delete(id);
    for (const role of roles) shots.set(role, oneMore(shots.get(role)));
  } else failures.set(id, oneMore(failures.get(id)));
  return { shots, underWay, failures };
}

interface Suspect {
  readonly host: string;
  readonly incarnation: number;
  readonly roles: readonly string[];
}

/** Voted out, not proven silent, and still the owner of something; by `incarnationId`. */
function suspectsOf(view: View): ReadonlyMap<string, Suspect> {
  const suspects = new Map<string, Suspect>();
  for (const [role, { value }] of view.assignments) {
    const { host, incarnation } = value;
    if (host === null || !isExpired(view, host, incarnation)) continue;
    if (isSilent(view, host, incarnation)) continue;
    const id = incarnationId(host, incarnation);
    const roles = [...(suspects.get(id)?.roles ?? []), role];
    suspects.set(id, { host, incarnation, roles });
  }
  return suspects;
}

/** More than half of a pool at once (and more than one) is rather a partition than failures. */
function tooMany(
  config: ClusterConfig,
  host: string,
  suspects: ReadonlyMap<string, Suspect>,
): boolean {
  const pool = config.hosts.find(({ name }) => name === host)?.pool;
  const members = config.hosts.filter((one) => one.pool === pool).map(({ name }) => name);
  const failed = new Set([...suspects.values()].map((suspect) => suspect.host));
  const together = members.filter((name) => failed.has(name)).length;
  return together > 1 && together > members.length / 2;
}

function retryFromMs(state: FencingState, id: string): number {
  const failed = state.failures.get(id);
  if (failed === undefined) return 0;
  return failed.lastMs + Math.min(longestRetryMs, firstRetryMs * 2 ** (failed.count - 1));
}

/** The role that has waited enough decides: a host is switched off for all of its roles. */
function shotFromMs(state: FencingState, roles: readonly string[]): number {
  const each = roles.map((role) => {
    const shot = state.shots.get(role);
    return shot === undefined
      ? 0
      : shot.lastMs + Math.min(longestPingPongMs, pingPongMs * 2 ** (shot.count - 1));
  });
  return Math.min(...each);
}

/** Bounds what is remembered: to suspects, and to roles of late. */
function forget(
  state: FencingState,
  suspects: ReadonlyMap<string, Suspect>,
  nowMs: number,
): FencingState {
  const failures = new Map([...state.failures].filter(([id]) => suspects.has(id)));
  const shots = new Map(
    [...state.shots].filter(([, { lastMs }]) => nowMs - lastMs < forgetShotsMs),
  );
  return { ...state, failures, shots };
}
