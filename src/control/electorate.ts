import type { ConfigRecord } from './records.js';

/** More than half of them. */
export const majority = (controllers: number): number => Math.floor(controllers / 2) + 1;

/**
 * Who grants leases and votes: one set of controllers or, while one replaces another, both, the old
 * one first. Leases and commits then need a majority of each (docs/architecture.md, changing the
 * controllers).
 */
export interface Electorate {
  /** Grows with each step of a change; heartbeats carry it. 0: never changed. */
  readonly set: number;
  readonly sets: readonly (readonly string[])[];
}

type Named = Pick<ConfigRecord, 'controllers'> & {
  readonly config: { readonly controllers: readonly string[] };
};

export function electorateOf({ config, controllers }: Named): Electorate {
  const { set = 0, from = null } = controllers ?? {};
  return { set, sets: from === null ? [config.controllers] : [from, config.controllers] };
}

/** The one before a change that is under way; undefined when none is. */
export function formerElectorate({ controllers }: Named): Electorate | undefined {
  const { set = 0, from = null } = controllers ?? {};
  return from === null ? undefined : { set: set - 1, sets: [from] };
}

/**
 * The lowest set that a host which enrols now may count its lease by. While one is replaced that is the
 * one before: it may not have read of the change yet.
 */
export function lowestSet(record: Named): number {
  return (formerElectorate(record) ?? electorateOf(record)).set;
}

/** Each controller once, those that are replaced included. */
export function electorsOf({ sets }: Pick<Electorate, 'sets'>): readonly string[] {
  return [...new Set(sets.flat())];
}

/** Whether those who are counted are a majority of each set. Of no set nobody is: not even by default. */
export function isQuorum(
  sets: readonly (readonly string[])[],
  counted: (controller: string) => boolean,
): boolean {
  if (sets.length === 0) return false;
  return sets.every((names) => names.filter(counted).length >= majority(names.length));
}
