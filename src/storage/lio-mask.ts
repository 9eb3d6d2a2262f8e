import { UnderstudyError } from '../errors.js';
import { endConnections, establishedPeers, plainAddress } from './half-login.js';
import {
  admit,
  type LioAcl,
  type LioGroup,
  lioGroups,
  lioPortals,
  lioRoot,
  sessionAddress,
  unmap,
} from './lio-configfs.js';
import { endsWithin, LioRemovals } from './lio-removals.js';
import { MaskLedger } from './mask-ledger.js';
import { initiatorPrefix, type MaskAdapter, type MaskOrder } from './types.js';

export interface LioMaskOptions {
  readonly cluster: string;
  /** The epochs that were applied; default /var/lib/understudy/target-epochs.json. */
  readonly ledgerFile?: string;
  /** Default /sys/kernel/config/target/iscsi. */
  readonly root?: string;
}

/** A removal that takes longer waits for a login or a write that does not end by itself. */
const removalGraceMs = 300;
/** What waits longer is told, and tried again: 15 s are LIO's own bound on a login. */
const patienceMs = 5_000;

/**
 * The storage side of the fence on LIO, by LUN and initiator. Of a target only the ACLs that are named
 * after this cluster are touched: the old owner's are removed, which ends its sessions and waits for its
 * commands, only then the new owner's is made. An ACL of somebody else stays, with whatever it has; if
 * it may write to one of these LUNs nobody is let in.
 */
export class LioMask implements MaskAdapter {
  readonly ledger: MaskLedger;
  readonly #root: string;
  readonly #prefix: string;
  readonly #removals = new LioRemovals();
  /** By target: one look at a time. One that hangs holds a thread of this process. */
  readonly #looks = new Map<string, Promise<unknown>>();
  /** By ACL: where it was last seen logged in from. */
  readonly #addresses = new Map<string, string>();

  constructor({ cluster, ledgerFile, root = lioRoot }: LioMaskOptions) {
    this.#root = root;
    this.#prefix = initiatorPrefix(cluster);
    this.ledger = new MaskLedger(ledgerFile ?? '/var/lib/understudy/target-epochs.json');
  }

  /**
   * @throws {UnderstudyError} US_STORAGE_STALE_EPOCH, US_STORAGE_LEDGER, US_STORAGE_TARGET_NOT_FOUND,
   * US_STORAGE_LUN_NOT_FOUND, US_STORAGE_TARGET_DAEMON, US_STORAGE_LIO, US_STORAGE_MASK
   */
  async apply(order: MaskOrder, signal: AbortSignal): Promise<void> {
    const { written } = await this.ledger.admit(order);
    const before = await this.#look(order, signal);
    await this.#expel(order, before, signal);
    await written;
    const { initiator } = order;
    if (initiator !== undefined) {
      refuseOpenGroups(order, before, this.#prefix);
      await this.#admit({ ...order, initiator }, before).catch((thrown: unknown) => {
        throw lioError(`let in ${initiator} to ${order.target}`, thrown);
      });
    }
    const deviation = this.#deviation(order, await this.#look(order, signal));
    if (deviation !== undefined) throw maskError(order, deviation);
  }

  /** Whether the mask is as ordered. Sessions of whom it keeps out see no LUN. */
  async holds(order: MaskOrder, signal: AbortSignal): Promise<boolean> {
    const groups = await this.#look(order, signal);
    for (const { acls } of groups) {
      for (const acl of acls.filter(({ name }) => name === order.initiator)) {
        const address = await sessionAddress(acl);
        if (address !== undefined) this.#addresses.set(acl.path, address);
      }
    }
    return this.#deviation(order, groups) === undefined;
  }

  async #look(order: MaskOrder, signal: AbortSignal): Promise<readonly LioGroup[]> {
    const { target } = order;
    const hangs = 'LIO has not done yet what it was told before: it waits for a login or a write';
    // What is being removed holds the folder of all ACLs locked.
    if (!(await this.#removals.settled(`${this.#root}/${target}`, patienceMs, signal))) {
      throw maskError(order, hangs);
    }
    const earlier = this.#looks.get(target);
    if (earlier !== undefined && !(await endsWithin(earlier, patienceMs, signal))) {
      throw maskError(order, hangs);
    }
    const look = lioGroups(target, this.#root).finally(() => this.#looks.delete(target));
    this.#looks.set(target, look);
    if (!(await endsWithin(look, patienceMs, signal))) throw maskError(order, hangs);
    const groups = await look;
    if (groups === undefined || groups.length === 0) throw noTarget(target);
    return groups;
  }

  /** Everybody of this cluster but the one who is to be let in. */
  #old({ initiator }: MaskOrder, groups: readonly LioGroup[]): readonly LioAcl[] {
    return groups
      .flatMap(({ acls }) => acls)
      .filter(({ name }) => name.startsWith(this.#prefix) && name !== initiator);
  }

  async #expel(order: MaskOrder, groups: readonly LioGroup[], signal: AbortSignal): Promise<void> {
    const old = this.#old(order, groups);
    if (old.length === 0) return;
    const addresses = await Promise.all(
      old.map(async (acl) => (await sessionAddress(acl)) ?? this.#addresses.get(acl.path)),
    );
    const removals = Promise.all(old.map(({ path }) => this.#removals.begin(path)));
    if (!(await endsWithin(removals, removalGraceMs, signal))) {
      await endLogins(groups, addresses, signal);
      if (!(await endsWithin(removals, patienceMs, signal))) {
        const names = old.map(({ name }) => name).join(', ');
        throw maskError(order, `LIO waits for a login or a write of ${names} to end`);
      }
    }
    const failure = (await removals).find((one) => one !== undefined);
    if (failure !== undefined) throw lioError(`remove ${old[0]?.path}`, failure);
    for (const { path } of old) this.#addresses.delete(path);
  }

  async #admit(
    order: MaskOrder & { readonly initiator: string },
    groups: readonly LioGroup[],
  ): Promise<void> {
    const { initiator, target } = order;
    for (const group of groups) {
      const luns = lunsIn(order, group);
      const mappings = mappingsOf(initiator, group);
      await unmap(mappings.filter(({ number, lun }) => number !== lun || !luns.includes(lun)));
      const missing = luns.filter((lun) => !mappings.some((one) => isOrdered(one, lun)));
      if (missing.length > 0) await admit(group, initiator, missing);
    }
    const absent = (order.luns ?? []).filter(
      (lun) => !groups.some((one) => one.luns.includes(lun)),
    );
    if (absent.length > 0) throw noLun(target, absent);
  }

  #deviation(order: MaskOrder, groups: readonly LioGroup[]): string | undefined {
    const old = this.#old(order, groups);
    if (old.length > 0) return `it lets in ${old.map(({ name }) => name).join(', ')}`;
    const { initiator } = order;
    if (initiator === undefined) return undefined;
    const open = openTo(order, groups, this.#prefix);
    if (open !== undefined) return open;
    for (const group of groups) {
      const mappings = mappingsOf(initiator, group);
      const luns = lunsIn(order, group);
      const same = luns.every((lun) => mappings.some((one) => isOrdered(one, lun)));
      if (!same || mappings.length !== luns.length) {
        const has = mappings.map(({ number }) => number).join(', ') || 'none';
        return `${initiator} has LUN ${has} of ${group.name}, not ${luns.join(', ') || 'none'}`;
      }
    }
    return undefined;
  }
}

/**
 * A host that stopped in the middle of a login: its connection is ended, and the login with it. LIO tells
 * of no login before it is done, so it is each connection from where these initiators were seen; of one that
 * was never seen anybody may be the one, and whoever is not logs in again.
 */
async function endLogins(
  groups: readonly LioGroup[],
  addresses: readonly (string | undefined)[],
  signal: AbortSignal,
): Promise<void> {
  const portals = await lioPortals(groups);
  const known = addresses.flatMap((one) => (one === undefined ? [] : [plainAddress(one)]));
  const all = known.length < addresses.length;
  const suspects = all ? [...establishedPeers(portals).keys()] : known;
  for (const address of new Set(suspects)) await endConnections(address, portals, signal);
}

/** The order's LUNs, of those that a group has. */
const lunsIn = ({ luns = [] }: MaskOrder, group: LioGroup): readonly number[] =>
  luns.filter((lun) => group.luns.includes(lun));

const mappingsOf = (initiator: string, { acls }: LioGroup) =>
  acls.filter(({ name }) => name === initiator).flatMap(({ mappings }) => mappings);

const isOrdered = (one: LioAcl['mappings'][number], lun: number): boolean =>
  one.lun === lun && one.number === lun && !one.readOnly;

/** Why others than Understudy's may write to these LUNs; undefined: they may not. Pure. */
export function openTo(
  { luns = [] }: MaskOrder,
  groups: readonly LioGroup[],
  prefix: string,
): string | undefined {
  for (const { name, acls, admitsAll, dynamic } of groups) {
    if (admitsAll) return `generate_node_acls of ${name} is 1: it lets in everybody`;
    if (dynamic.length > 0) {
      return `${name} let in ${dynamic.join(', ')} while generate_node_acls was 1`;
    }
    const others = acls.filter(
      (acl) =>
        !acl.name.startsWith(prefix) &&
        acl.mappings.some(({ lun, readOnly }) => !readOnly && luns.includes(lun)),
    );
    if (others.length > 0) {
      return `${others.map((acl) => acl.name).join(', ')} may write to it too`;
    }
  }
  return undefined;
}

function refuseOpenGroups(order: MaskOrder, groups: readonly LioGroup[], prefix: string): void {
  const open = openTo(order, groups, prefix);
  if (open === undefined) return;
  const remedy =
    'take it away by hand (docs/storage-target.md): what is not of this cluster is left alone';
  throw maskError(order, open, remedy);
}

function maskError(order: MaskOrder, cause: string, remedy?: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_MASK',
    action: 'cannot set the mask of',
    object: `${order.target} to ${order.initiator ?? 'nobody'}`,
    cause,
    remedy:
      remedy ?? 'see whether something else changes this target; understudy target tries again',
  });
}

function noTarget(target: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_TARGET_NOT_FOUND',
    action: 'cannot set the mask of',
    object: target,
    cause: 'LIO on this host has no target of that name with a portal group',
    remedy: 'define it (targetcli), or correct target: of the volume',
  });
}

function noLun(target: string, luns: readonly number[]): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_LUN_NOT_FOUND',
    action: 'cannot set the mask of',
    object: target,
    cause: `no portal group of it has LUN ${luns.join(', ')}`,
    remedy: 'define it (targetcli), or correct lun: of the volume',
  });
}

function lioError(what: string, thrown: unknown): UnderstudyError {
  if (thrown instanceof UnderstudyError) return thrown;
  return new UnderstudyError(
    {
      code: 'US_STORAGE_LIO',
      action: 'was refused',
      object: what,
      cause: thrown instanceof Error ? thrown.message : String(thrown),
      remedy: 'see the kernel log (dmesg); understudy target tries again',
    },
    { cause: thrown },
  );
}
