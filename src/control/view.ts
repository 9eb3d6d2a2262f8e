import type { ClusterConfig } from '../config/types.js';
import { type ParsedKey, parseKey, type RoleKind } from './keys.js';
import { isReadable } from './readable.js';
import type {
  AllocationRecord,
  AssignmentRecord,
  AuditRecord,
  ConfigRecord,
  DrainRecord,
  FailoverRecord,
  FeaturesRecord,
  FencedRecord,
  HostRecord,
  LongerLeaseRecord,
  MaskRecord,
  ReportRecord,
  SetsRecord,
  StartRecord,
  StepsRecord,
  VolumeRecord,
  VoteRecord,
} from './records.js';

/** A record and the store revision of its last write, which transactions compare. */
export interface Kept<T> {
  readonly value: T;
  readonly revision: number;
}

export interface Role {
  readonly kind: RoleKind;
  readonly name: string;
}

/** What the store holds, taken apart. Decisions read it; only `ViewKeeper` writes it. */
export interface View {
  readonly config: Kept<ConfigRecord> | undefined;
  readonly allocation: Kept<AllocationRecord> | undefined;
  readonly hosts: ReadonlyMap<string, Kept<HostRecord>>;
  readonly features: ReadonlyMap<string, Kept<FeaturesRecord>>;
  readonly starts: ReadonlyMap<string, Kept<StartRecord>>;
  /** By controller. */
  readonly sets: ReadonlyMap<string, Kept<SetsRecord>>;
  /** By `incarnationId`, then by controller. */
  readonly votes: ReadonlyMap<string, ReadonlyMap<string, Kept<VoteRecord>>>;
  /** `incarnationId` of every incarnation that a commit shut out for good. */
  readonly retired: ReadonlySet<string>;
  /** By `incarnationId`. */
  readonly fenced: ReadonlyMap<string, Kept<FencedRecord>>;
  /** By `roleId`. */
  readonly assignments: ReadonlyMap<string, Kept<AssignmentRecord>>;
  readonly reports: ReadonlyMap<string, Kept<ReportRecord>>;
  readonly masks: ReadonlyMap<string, Kept<MaskRecord>>;
  readonly volumes: ReadonlyMap<string, Kept<VolumeRecord>>;
  /** Longer leases for planned restarts of pulses. */
  readonly longer: ReadonlyMap<string, Kept<LongerLeaseRecord>>;
  readonly drained: ReadonlyMap<string, Kept<DrainRecord>>;
  readonly failovers: ReadonlyMap<string, Kept<FailoverRecord>>;
  /** By failover, then by who did the steps. */
  readonly steps: ReadonlyMap<string, ReadonlyMap<string, Kept<StepsRecord>>>;
  /** The newest change that a person asked for; undefined for none. */
  readonly lastChange: Kept<AuditRecord> | undefined;
}

export const incarnationId = (host: string, incarnation: number): string =>
  `${host}/${incarnation}`;
export const roleId = (role: Role): string => `${role.kind}/${role.name}`;
export function parseRoleId(id: string): Role {
  const [kind, name = ''] = id.split('/');
  return { kind: kind === 'service' ? 'service' : 'personality', name };
}

export function configOf(view: View): ClusterConfig | undefined {
  return view.config?.value.config;
}

/** The shape of a store entry that the view needs; the store's own type fits it. */
interface EntryLike {
  readonly key: string;
  readonly value: string;
  readonly modRevision: number;
}

type ChangeLike =
  | { readonly kind: 'put'; readonly entry: EntryLike }
  | { readonly kind: 'delete'; readonly key: string; readonly revision: number };

type PlacedKey = Exclude<ParsedKey, { readonly kind: 'event' }>;
/** What there is in the view. */
export type NewsKind = PlacedKey['kind'];

/**
 * Builds a `View` from a snapshot and keeps it current. A value that cannot be read changes nothing: what
 * was known of its key stays, under the old revision, so that no transaction can rest on it.
 */
export class ViewKeeper {
  #view = emptyView();
  /** The newest revision that a snapshot or the watch told of. */
  #toldRevision = 0;
  /** Entries that the watch has not told of yet, by key. */
  readonly #ahead = new Map<string, EntryLike>();

  get view(): View {
    return this.#view;
  }

  /** @param revision of the snapshot */
  reset(entries: readonly EntryLike[], revision = Number.POSITIVE_INFINITY): void {
    this.#view = emptyView();
    this.#toldRevision = revision;
    for (const entry of entries) this.#put(entry);
    for (const [key, entry] of [...this.#ahead]) {
      if (entry.modRevision <= revision) this.#ahead.delete(key);
      else this.#put(entry);
    }
  }

  /** @returns of what kinds the news were: none where it was events, or keys of others */
  apply(changes: readonly ChangeLike[]): ReadonlySet<NewsKind> {
    const told = new Set<NewsKind>();
    for (const change of changes) {
      const { key, revision } =
        change.kind === 'put'
          ? { key: change.entry.key, revision: change.entry.modRevision }
          : change;
      this.#toldRevision = Math.max(this.#toldRevision, revision);
      if (this.#isOld(key, revision)) continue;
      const placed = change.kind === 'put' ? this.#put(change.entry) : this.#delete(key);
      if (placed !== undefined) told.add(placed);
    }
    return told;
  }

  /**
   * What the store is known to hold before the watch tells of it: the writes of a transaction of
   * our own. What the watch still has to say about these keys from before changes nothing.
   */
  learn(entries: readonly EntryLike[]): ReadonlySet<NewsKind> {
    const told = new Set<NewsKind>();
    for (const entry of entries) {
      const { key, modRevision } = entry;
      const known = this.#ahead.get(key)?.modRevision ?? 0;
      if (modRevision <= Math.max(this.#toldRevision, known)) continue;
      this.#ahead.set(key, entry);
      const placed = this.#put(entry);
      if (placed !== undefined) told.add(placed);
    }
    return told;
  }

  #isOld(key: string, revision: number): boolean {
    const ahead = this.#ahead.get(key)?.modRevision ?? 0;
    if (revision >= ahead) this.#ahead.delete(key);
    return revision < ahead;
  }

  #put({ key, value: text, modRevision }: EntryLike): NewsKind | undefined {
    const parsed = placedKey(key);
    if (parsed === undefined) return undefined;
    const value = parseJson(text);
    if (!isReadable(parsed.kind, value)) return undefined;
    this.#place(parsed, { value, revision: modRevision });
    return parsed.kind;
  }

  #delete(key: string): NewsKind | undefined {
    const parsed = placedKey(key);
    if (parsed === undefined) return undefined;
    this.#place(parsed, undefined);
    return parsed.kind;
  }

  /** The one place where JSON gets its type; `isReadable` has looked at it. */
  #place(parsed: PlacedKey, kept: Kept<unknown> | undefined): void {
    const view = this.#view;
    switch (parsed.kind) {
      case 'config':
        view.config = kept as Kept<ConfigRecord> | undefined;
        return;
      case 'alloc':
        view.allocation = kept as Kept<AllocationRecord> | undefined;
        return;
      case 'hosts':
      case 'features':
      case 'longer':
      case 'drained':
      case 'failovers':
        put(view[parsed.kind] as Map<string, Kept<unknown>>, parsed.name, kept);
        return;
      case 'report':
        put(view.reports, parsed.name, kept as Kept<ReportRecord> | undefined);
        return;
      case 'volume':
        put(view.volumes, parsed.name, kept as Kept<VolumeRecord> | undefined);
        return;
      case 'mask':
        put(view.masks, parsed.name, kept as Kept<MaskRecord> | undefined);
        return;
      case 'controller':
        put(view.starts, parsed.name, kept as Kept<StartRecord> | undefined);
        return;
      case 'sets':
        put(view.sets, parsed.name, kept as Kept<SetsRecord> | undefined);
        return;
      case 'vote':
        putBelow(
          view.votes,
          incarnationId(parsed.host, parsed.incarnation),
          parsed.controller,
          kept as Kept<VoteRecord> | undefined,
        );
        return;
      case 'retired':
        if (kept === undefined) view.retired.delete(incarnationId(parsed.host, parsed.incarnation));
        else view.retired.add(incarnationId(parsed.host, parsed.incarnation));
        return;
      case 'fenced':
        put(
          view.fenced,
          incarnationId(parsed.host, parsed.incarnation),
          kept as Kept<FencedRecord> | undefined,
        );
        return;
      case 'assign':
        put(
          view.assignments,
          roleId({ kind: parsed.role, name: parsed.name }),
          kept as Kept<AssignmentRecord> | undefined,
        );
        return;
      case 'audit':
        // Only the newest: nobody decides by the log, and deleting an old entry says nothing.
        if (kept !== undefined && kept.revision >= (view.lastChange?.revision ?? 0)) {
          view.lastChange = kept as Kept<AuditRecord>;
        }
        return;
      case 'steps':
        putBelow(view.steps, parsed.failover, parsed.who, kept as Kept<StepsRecord> | undefined);
        return;
    }
  }
}

/** Undefined for keys that are not in the view: events, and what others keep below our prefix. */
function placedKey(key: string): PlacedKey | undefined {
  const parsed = parseKey(key);
  return parsed?.kind === 'event' ? undefined : parsed;
}

interface MutableView extends View {
  config: Kept<ConfigRecord> | undefined;
  allocation: Kept<AllocationRecord> | undefined;
  readonly hosts: Map<string, Kept<HostRecord>>;
  readonly features: Map<string, Kept<FeaturesRecord>>;
  readonly starts: Map<string, Kept<StartRecord>>;
  readonly sets: Map<string, Kept<SetsRecord>>;
  readonly votes: Map<string, Map<string, Kept<VoteRecord>>>;
  readonly retired: Set<string>;
  readonly fenced: Map<string, Kept<FencedRecord>>;
  readonly assignments: Map<string, Kept<AssignmentRecord>>;
  readonly reports: Map<string, Kept<ReportRecord>>;
  readonly masks: Map<string, Kept<MaskRecord>>;
  readonly volumes: Map<string, Kept<VolumeRecord>>;
  readonly longer: Map<string, Kept<LongerLeaseRecord>>;
  readonly drained: Map<string, Kept<DrainRecord>>;
  readonly failovers: Map<string, Kept<FailoverRecord>>;
  readonly steps: Map<string, Map<string, Kept<StepsRecord>>>;
  lastChange: Kept<AuditRecord> | undefined;
}

function emptyView(): MutableView {
  return {
    config: undefined,
    allocation: undefined,
    hosts: new Map(),
    features: new Map(),
    starts: new Map(),
    sets: new Map(),
    votes: new Map(),
    retired: new Set(),
    fenced: new Map(),
    assignments: new Map(),
    reports: new Map(),
    masks: new Map(),
    volumes: new Map(),
    longer: new Map(),
    drained: new Map(),
    failovers: new Map(),
    steps: new Map(),
    lastChange: undefined,
  };
}

function put<T>(map: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

function putBelow<T>(
  map: Map<string, Map<string, T>>,
  outer: string,
  inner: string,
  value: T | undefined,
): void {
  const below = map.get(outer) ?? new Map<string, T>();
  put(below, inner, value);
  if (below.size === 0) map.delete(outer);
  else map.set(outer, below);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
