import type { ParsedKey } from './keys.js';

/**
 * Whether a value of the store has what this program relies on without looking. Only that: what a newer
 * version adds, or says in words this one does not know, must not make its records unreadable.
 */
export function isReadable(kind: ParsedKey['kind'], value: unknown): boolean {
  // That it is there is all that such a mark says.
  if (kind === 'retired') return true;
  return isObject(value) && (checks[kind]?.(value) ?? true);
}

type Fields = Readonly<Record<string, unknown>>;
type Check = (value: unknown) => boolean;

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isText: Check = (value) => typeof value === 'string';
const isTextOrNull: Check = (value) => value === null || isText(value);
const isCount: Check = (value) => Number.isSafeInteger(value) && Number(value) >= 0;
const isPositive: Check = (value) => Number.isFinite(value) && Number(value) > 0;
const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const isNamed: Check = (value) => isObject(value) && isText(value.name);
const record =
  (fields: Readonly<Record<string, Check>>): Check =>
  (value) =>
    isObject(value) && Object.entries(fields).every(([name, check]) => check(value[name]));

const isNames: Check = (value) => listOf(isText)(value) && Array.isArray(value) && value.length > 0;

const isNamesOrNull: Check = (value) => value === null || isNames(value);

/** Beyond 2^53 they are still good to be read. */
const isAmount: Check = (value) => Number.isFinite(value) && Number(value) >= 0;
const isRate = record({ packets: isAmount, bytes: isAmount, newFlows: isAmount });
const isTraffic = record({
  service: isText,
  received: isAmount,
  passed: isAmount,
  dropped: (value) => isObject(value) && Object.values(value).every(isAmount),
  forwarded: listOf(
    record({
      ...{ personality: isText, packets: isAmount, bytes: isAmount, newFlows: isAmount },
      perSecond: (value) => value === undefined || isRate(value),
    }),
  ),
});

const role = record({ name: isText, epoch: isCount, phase: isText, detail: isText });

const checks: Partial<Record<ParsedKey['kind'], Check>> = {
  config: record({
    generation: isCount,
    // Whoever cannot read whose majorities count must not act on a part of it.
    controllers: (value) =>
      value === undefined || record({ set: isCount, since: isCount, from: isNamesOrNull })(value),
    config: record({
      cluster: isText,
      controllers: isNames,
      timing: record({ heartbeatMs: isPositive, leaseMs: isPositive }),
      fencing: isObject,
      hosts: listOf(isNamed),
      networks: listOf(isNamed),
      volumes: listOf(isNamed),
      personalities: listOf(isNamed),
      services: listOf(isNamed),
    }),
  }),
  alloc: record({ macs: isObject, seeds: isObject }),
  hosts: record({ incarnation: isCount, bootToken: isText }),
  controller: record({ nonce: isText }),
  sets: record({ accepts: isCount, refusesBelow: isCount }),
  longer: record({ incarnation: isCount, nonce: isText, leaseMs: isCount }),
  // The less is asked of it the better: one that is not read does not keep its voter from acking.
  vote: record({ state: isText }),
  assign: record({
    host: isTextOrNull,
    incarnation: isCount,
    epoch: isCount,
    state: isText,
    to: isTextOrNull,
    failover: isTextOrNull,
  }),
  report: record({
    incarnation: isCount,
    personalities: listOf(role),
    services: listOf(role),
    health: listOf(isObject),
    ready: (value) => value === undefined || listOf(isObject)(value),
    traffic: (value) => value === undefined || listOf(isTraffic)(value),
  }),
  mask: record({ personality: isText, host: isTextOrNull, epoch: isCount }),
  volume: record({ serial: isText }),
  failovers: record({ id: isText, name: isText, epoch: isCount, evidence: listOf(isObject) }),
  steps: record({ steps: listOf(isNamed) }),
  audit: record({ atUnixMs: isCount, who: isText, from: isText, what: isText }),
};
