import { ensureAddresses } from './address-plan.js';
import { parseCidr } from './addresses.js';
import type { Carriers } from './carriers.js';
import type { NetworkLog } from './log.js';
import { loopbackIndex, type Namespaces } from './namespaces.js';
import { KernelError } from './netlink/error.js';
import { type AddressState, listAddresses } from './netlink/ip-addresses.js';
import { changeLink, type Link, listLinks, removeLink } from './netlink/links.js';
import type { NetlinkTransport, RequestOptions } from './netlink/transport.js';
import {
  adjustNic,
  isComplete,
  isOurs,
  makeNic,
  type NicPlace,
  type NicPlan,
  raiseNic,
} from './nic.js';
import { foreign, noNic, stale } from './refusals.js';
import { ensureRoutes, planRoutes } from './route-plan.js';
import { prepareRoleNamespace } from './sysctls.js';
import { type RoleTag, tagText } from './tag.js';
import type { Guard, NamespaceSpec } from './types.js';

/** What a role's namespace is built with. */
export interface RoleParts {
  readonly namespaces: Namespaces;
  readonly carriers: Carriers;
  readonly guard: Guard;
  readonly cluster: string;
  readonly log: NetworkLog;
}

interface Contents {
  readonly links: readonly Link[];
  readonly addresses: readonly AddressState[];
}

const nothing: Contents = { links: [], addresses: [] };

/**
 * Makes the namespace what `spec` says. What is there and has this very epoch and incarnation is
 * adopted and corrected; NICs of others of ours are removed and made anew, under the new guard.
 */
export async function ensureRoleNamespace(
  parts: RoleParts,
  spec: NamespaceSpec,
  signal: AbortSignal,
): Promise<void> {
  const { namespaces, carriers, guard, log } = parts;
  const purpose = { action: 'cannot set up namespace', object: `of ${spec.name}` };
  const options = { purpose, signal };
  const path = namespaces.rolePath(spec.name);
  const tag = roleTag(spec, parts.cluster);
  // Before anything is made: a network that is missing must not leave half a namespace.
  const grounds = await Promise.all(
    spec.nics.map(({ network }) => carriers.ground(network, options)),
  );

  const existed = namespaces.exists(path);
  if (existed) await adoptNamespace(parts, path, tag, options);
  else namespaces.create(path, tag, prepareRoleNamespace, purpose);
  const netlink = namespaces.at(path);
  const place = { path, netlink, guard };
  const plans = spec.nics.map((nic, index): NicPlan => {
    const ground = grounds[index];
    if (ground === undefined) throw new Error(`no ground for ${nic.network}`);
    const up = spec.quiet !== true;
    return { name: `eth${index}`, spec: nic, tag: { ...tag, network: nic.network }, ground, up };
  });

  const there = existed ? await contents(netlink, options) : nothing;
  const complete = completeNics(plans, there.links, (link) => {
    if (!isOurs(link, parts.cluster)) throw foreign(purpose, `device ${link.name} in ${path}`);
  });
  const kept = new Set(complete.values());
  const surplus = there.links.filter((link) => isOurs(link, parts.cluster) && !kept.has(link));
  await removeNics(netlink, surplus, options);
  for (const { name, alias } of surplus) {
    log.warn({ name: spec.name, nic: name, alias }, 'NIC of another epoch, or unfinished, removed');
  }
  if (existed) await changeLink(netlink, loopbackIndex, { up: true, alias: tagText(tag) }, options);

  const held = spec.loopbackAddresses.map(parseCidr);
  await ensureAddresses(netlink, loopbackIndex, held, there.addresses, options);
  for (const plan of plans) {
    const link = complete.get(plan);
    if (link === undefined) await makeNic(place, plan, options);
    else await adjustNic(place, plan, link, there.addresses, options);
  }
  // The kernel takes no route through a NIC that is down.
  if (spec.quiet === true) return;
  if (existed || spec.routes.length > 0) await setRoutes(netlink, spec, options);
}

/** The second half of a quiet `ensureRoleNamespace`: only NICs that carry this epoch's tag go up. */
export async function raiseNics(
  place: NicPlace,
  spec: NamespaceSpec,
  options: RequestOptions,
): Promise<void> {
  const { netlink } = place;
  const role = roleTag(spec, spec.cluster);
  const links = await listLinks(netlink, options);
  const nics = spec.nics.map((nic) => {
    const tag = { ...role, network: nic.network };
    const link = links.find(({ alias }) => alias === tagText(tag));
    if (link === undefined) throw noNic(options.purpose, `none is tagged ${tagText(tag)}`);
    return { tag, link };
  });
  await Promise.all(nics.map(({ tag, link }) => raiseNic(place, tag, link, options)));
  if (spec.routes.length > 0) await setRoutes(netlink, spec, options);
}

/** NICs that are there as planned. `other` is told of those that only have the name of one. */
function completeNics(
  plans: readonly NicPlan[],
  links: readonly Link[],
  other: (link: Link) => void,
): ReadonlyMap<NicPlan, Link> {
  const complete = new Map<NicPlan, Link>();
  for (const plan of plans) {
    const link = links.find(({ name }) => name === plan.name);
    if (link === undefined) continue;
    if (isComplete(link, plan)) complete.set(plan, link);
    else other(link);
  }
  return complete;
}

function roleTag(spec: NamespaceSpec, cluster: string): RoleTag {
  const { name, epoch, incarnation } = spec;
  return { kind: 'role', cluster, name, epoch, incarnation, network: undefined };
}

/** Only a namespace of ours, and only one that is not newer than what is ordered. */
async function adoptNamespace(
  { namespaces, cluster }: RoleParts,
  path: string,
  wanted: RoleTag,
  options: RequestOptions,
): Promise<void> {
  const { purpose } = options;
  const tag = await namespaces.tagOf(path, options);
  const ours = tag?.kind === 'role' && tag.cluster === cluster && tag.name === wanted.name;
  if (!ours) throw foreign(purpose, `namespace ${path}`);
  if (tag.epoch > wanted.epoch) {
    throw stale(purpose, `epoch ${wanted.epoch}`, `epoch ${tag.epoch}`);
  }
}

async function contents(netlink: NetlinkTransport, options: RequestOptions): Promise<Contents> {
  const [links, addresses] = await Promise.all([
    listLinks(netlink, options),
    listAddresses(netlink, options),
  ]);
  return { links, addresses };
}

export async function silenceNics(
  netlink: NetlinkTransport,
  links: readonly Link[],
  options: RequestOptions,
): Promise<void> {
  await Promise.all(links.map(({ index }) => goDown(netlink, index, options)));
}

/** Silent at once, gone a little later: removing takes the kernel milliseconds each. */
async function removeNics(
  netlink: NetlinkTransport,
  links: readonly Link[],
  options: RequestOptions,
): Promise<void> {
  await silenceNics(netlink, links, options);
  await removeLinks(netlink, links, options);
}

export async function removeLinks(
  netlink: NetlinkTransport,
  links: readonly Link[],
  options: RequestOptions,
): Promise<void> {
  await Promise.all(links.map(({ index }) => removeLink(netlink, index, options)));
}

async function goDown(
  netlink: NetlinkTransport,
  index: number,
  options: RequestOptions,
): Promise<void> {
  try {
    await changeLink(netlink, index, { up: false }, options);
  } catch (thrown) {
    // Gone already, with the device below it.
    if (!(thrown instanceof KernelError && thrown.errnoName === 'ENODEV')) throw thrown;
  }
}

async function setRoutes(
  netlink: NetlinkTransport,
  spec: NamespaceSpec,
  options: RequestOptions,
): Promise<void> {
  const links = spec.routes.length === 0 ? [] : await listLinks(netlink, options);
  const nics = spec.nics.map((nic, index) => ({
    linkIndex: links.find(({ name }) => name === `eth${index}`)?.index ?? 0,
    addresses: nic.addresses.map(parseCidr),
  }));
  await ensureRoutes(netlink, planRoutes(spec.routes, nics), options);
}
