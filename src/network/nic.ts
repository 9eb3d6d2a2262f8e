import { closeSync, openSync } from 'node:fs';
import { messageOf, UnderstudyError } from '../errors.js';
import { inNetworkNamespace } from '../ffi/namespace.js';
import { ensureAddresses } from './address-plan.js';
import { type Cidr, linkLocalOf, macBytes, parseCidr } from './addresses.js';
import type { Ground } from './carriers.js';
import type { AddressState } from './netlink/ip-addresses.js';
import { addMacvlan } from './netlink/link-kinds.js';
import {
  changeLink,
  findLink,
  type Link,
  MACVLAN_MODE_BRIDGE,
  removeLink,
} from './netlink/links.js';
import type { NetlinkTransport, RequestOptions } from './netlink/transport.js';
import { foreign, noNic } from './refusals.js';
import { setIpv6 } from './sysctls.js';
import { ourGroup, parseTag, type RoleTag, tagText } from './tag.js';
import { type Guard, type NicSpec, preparedEpoch } from './types.js';

/** A virtual NIC as it is to be in its namespace. */
export interface NicPlan {
  /** 'eth0', 'eth1', … */
  readonly name: string;
  readonly spec: NicSpec;
  readonly tag: RoleTag;
  readonly ground: Ground;
  /** false: left down until a later call. */
  readonly up: boolean;
}

/** The namespace it is for. */
export interface NicPlace {
  readonly path: string;
  readonly netlink: NetlinkTransport;
  readonly guard: Guard;
}

/**
 * Whether `link` is this NIC, complete and once guarded. Its tag says both, since it is given only after
 * the guard was attached; a NIC of another epoch or incarnation has another tag.
 */
export function isComplete(link: Link, plan: NicPlan): boolean {
  return (
    (link.alias === tagText(plan.tag) || isPrepared(link, plan)) &&
    link.name === plan.name &&
    link.kind === 'macvlan' &&
    link.macvlanMode === MACVLAN_MODE_BRIDGE &&
    link.mac === plan.spec.mac.toLowerCase() &&
    link.parentIndex === plan.ground.index
  );
}

/** Made for this incarnation before the role was its: guarded by the same lease, and never up. */
function isPrepared(link: Link, { tag }: NicPlan): boolean {
  return !link.up && link.alias === tagText({ ...tag, epoch: preparedEpoch });
}

/** Whether `link` is a NIC of ours: complete, or left unfinished by a crash. */
export function isOurs(link: Link, cluster: string): boolean {
  if (link.alias === '') return link.group === ourGroup && link.kind === 'macvlan';
  const tag = parseTag(link.alias);
  return tag?.kind === 'role' && tag.cluster === cluster && tag.network !== undefined;
}

/**
 * Makes a NIC: down, then its addresses, then the guard, and only then its tag and up (if
 * it is to be up yet). Whatever goes
 * wrong on the way, it is removed without ever having been up.
 */
export async function makeNic(
  place: NicPlace,
  plan: NicPlan,
  options: RequestOptions,
): Promise<void> {
  const { ground, name, spec, tag } = plan;
  const base = { name, mtu: ground.mtu, group: ourGroup, mac: spec.mac };
  const namespaceFd = openSync(place.path, 'r');
  try {
    await addMacvlan(ground.netlink, { ...base, namespaceFd, parentIndex: ground.index }, options);
  } catch (thrown) {
    throw await asForeign(place, plan, thrown, options);
  } finally {
    closeSync(namespaceFd);
  }
  // Found even if the caller gave up meanwhile: it must be removed then.
  const link = await findLink(place.netlink, name, { purpose: options.purpose });
  if (link === undefined) throw noNic(options.purpose, `${name} vanished while it was set up`);
  try {
    await configureAddresses(place, plan, link.index, [], options);
    attachGuard(place, plan);
    await changeLink(place.netlink, link.index, { alias: tagText(tag), up: plan.up }, options);
  } catch (thrown) {
    // If that fails too it stays down and without a tag, and the next try removes it.
    await removeLink(place.netlink, link.index, { purpose: options.purpose }).catch(
      () => undefined,
    );
    throw thrown;
  }
}

/** Brings up one that was left down, after another look at its guard. */
export async function raiseNic(
  place: NicPlace,
  tag: RoleTag,
  link: Link,
  options: RequestOptions,
): Promise<void> {
  attachGuard(place, { name: link.name, tag });
  await changeLink(place.netlink, link.index, { up: true }, options);
}

/** Corrects what may differ on a complete NIC without cutting anybody off; takes over a prepared one. */
export async function adjustNic(
  place: NicPlace,
  plan: NicPlan,
  link: Link,
  current: readonly AddressState[],
  options: RequestOptions,
): Promise<void> {
  await configureAddresses(place, plan, link.index, current, options);
  // The tag says that it was guarded once. Somebody may have taken the filter away since, or its map.
  attachGuard(place, plan);
  const alias = tagText(plan.tag);
  if (link.mtu !== plan.ground.mtu || link.alias !== alias || (plan.up && !link.up)) {
    const change = { mtu: plan.ground.mtu, alias, ...(plan.up ? { up: true } : {}) };
    await changeLink(place.netlink, link.index, change, options);
  }
}

async function configureAddresses(
  place: NicPlace,
  plan: NicPlan,
  linkIndex: number,
  current: readonly AddressState[],
  options: RequestOptions,
): Promise<void> {
  const wanted: Cidr[] = plan.spec.addresses.map(parseCidr);
  const ipv6 = wanted.some(({ family }) => family === 'ipv6');
  inNetworkNamespace(place.path, () => setIpv6(plan.name, ipv6));
  // Neighbour discovery needs a link-local address: it asks from it about a VIP's clients.
  const linkLocal = linkLocalOf(macBytes(plan.spec.mac));
  if (ipv6) wanted.push({ family: 'ipv6', bytes: linkLocal, prefixLength: 64 });
  await ensureAddresses(place.netlink, linkIndex, wanted, current, options);
}

function attachGuard(
  { path, guard }: NicPlace,
  { name, tag }: Pick<NicPlan, 'name' | 'tag'>,
): void {
  try {
    guard.attach(path, name, tag.incarnation);
  } catch (thrown) {
    if (thrown instanceof UnderstudyError) throw thrown;
    throw new UnderstudyError(
      {
        code: 'US_NET_GUARD',
        action: 'cannot guard NIC',
        object: `${name} of ${tag.name}`,
        cause: messageOf(thrown),
        remedy:
          'a NIC without its lease in the kernel is never brought up; correct the cause, it is tried again',
      },
      { cause: thrown },
    );
  }
}

/** A name that is taken in the namespace is somebody else's device; say so rather than EEXIST. */
async function asForeign(
  place: NicPlace,
  plan: NicPlan,
  thrown: unknown,
  { purpose }: RequestOptions,
): Promise<unknown> {
  if (!(thrown instanceof UnderstudyError) || thrown.code !== 'US_NET_EXISTS') return thrown;
  const there = await findLink(place.netlink, plan.name, { purpose });
  return there === undefined ? thrown : foreign(purpose, `device ${plan.name} in ${place.path}`);
}
