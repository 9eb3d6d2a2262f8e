/**
 * Where things are kept in the store, below the cluster's prefix. Names are RFC 1123 labels, so a
 * slash can separate them; target names (IQNs) are percent-encoded.
 */
export type RoleKind = 'personality' | 'service';

export const configKey = 'config';
/** What was allocated once and for ever: vMACs, dispatch seeds. */
export const allocationKey = 'alloc';

export const hostKey = (host: string): string => `hosts/${host}`;
/** What a host's kernel can do, written before anything else. */
export const featuresKey = (host: string): string => `features/${host}`;
export const controllerStartKey = (controller: string): string => `controllers/${controller}/start`;
/** Which sets of controllers one grants leases under. */
export const controllerSetsKey = (controller: string): string => `controllers/${controller}/sets`;
export const voteKey = (host: string, incarnation: number, controller: string): string =>
  `votes/${host}/${incarnation}/${controller}`;
export const retiredKey = (host: string, incarnation: number): string =>
  `retired/${host}/${incarnation}`;
export const fencedKey = (host: string, incarnation: number): string =>
  `fenced/${host}/${incarnation}`;
export const assignmentKey = (kind: RoleKind, name: string): string => `assign/${kind}/${name}`;
export const reportKey = (host: string): string => `report/${host}`;
export const maskKey = (target: string): string => `mask/${encodeURIComponent(target)}`;
/** The serial recorded at a volume's first attach. */
export const volumeKey = (volume: string): string => `volume/${volume}`;
export const longerKey = (host: string): string => `longer/${host}`;
export const drainedKey = (host: string): string => `drained/${host}`;
export const failoverKey = (id: string): string => `failovers/${id}`;
export const stepsKey = (failover: string, who: string): string => `steps/${failover}/${who}`;
/** Sorts by time, then by host; `serial` tells apart what happened in one millisecond. */
export const eventKey = (atMs: number, host: string, serial: number): string =>
  `events/${String(atMs).padStart(15, '0')}-${host}-${String(serial).padStart(6, '0')}`;

/** Who changed what; sorts as events do. */
export const auditKey = (atMs: number, host: string, serial: number): string =>
  eventKey(atMs, host, serial).replace('events/', 'audit/');

/** A key taken apart; undefined for one that is not of this schema. */
export type ParsedKey =
  | { readonly kind: 'config' | 'alloc' }
  | {
      readonly kind:
        | 'hosts'
        | 'features'
        | 'report'
        | 'longer'
        | 'drained'
        | 'volume'
        | 'failovers'
        | 'mask';
      readonly name: string;
    }
  | { readonly kind: 'controller' | 'sets'; readonly name: string }
  | {
      readonly kind: 'vote';
      readonly host: string;
      readonly incarnation: number;
      readonly controller: string;
    }
  | {
      readonly kind: 'retired' | 'fenced';
      readonly host: string;
      readonly incarnation: number;
    }
  | { readonly kind: 'assign'; readonly role: RoleKind; readonly name: string }
  | { readonly kind: 'steps'; readonly failover: string; readonly who: string }
  | { readonly kind: 'event' | 'audit'; readonly id: string };

export function parseKey(key: string): ParsedKey | undefined {
  const [head = '', first = '', second = '', third = '', ...rest] = key.split('/');
  if (rest.length > 0) return undefined;
  switch (head) {
    case 'config':
    case 'alloc':
      return { kind: head };
    case 'hosts':
    case 'features':
    case 'report':
    case 'longer':
    case 'drained':
    case 'volume':
    case 'failovers':
      return { kind: head, name: first };
    case 'mask': {
      const name = decoded(first);
      return name === undefined ? undefined : { kind: head, name };
    }
    case 'controllers':
      if (second === 'sets') return { kind: 'sets', name: first };
      return second === 'start' ? { kind: 'controller', name: first } : undefined;
    case 'votes':
      if (!isNumber(second)) return undefined;
      return { kind: 'vote', host: first, incarnation: Number(second), controller: third };
    case 'retired':
    case 'fenced':
      if (!isNumber(second)) return undefined;
      return { kind: head, host: first, incarnation: Number(second) };
    case 'assign':
      return first === 'personality' || first === 'service'
        ? { kind: 'assign', role: first, name: second }
        : undefined;
    case 'steps':
      return { kind: 'steps', failover: first, who: second };
    case 'events':
      return { kind: 'event', id: first };
    case 'audit':
      return { kind: 'audit', id: first };
    default:
      return undefined;
  }
}

const isNumber = (text: string): boolean => /^\d{1,15}$/.test(text);

/** Undefined for what no `maskKey` made: somebody else's key must not end the watch of all keys. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
