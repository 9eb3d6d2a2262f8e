/**
 * Ownership tags, in the alias of a device (IFLA_IFALIAS). What is ours is found, adopted and removed
 * by tag, never by name.
 *
 *   lo of a role's namespace        understudy:<cluster>:<name>:<epoch>:<incarnation>
 *   NIC in it                       understudy:<cluster>:<name>:<epoch>:<incarnation>:<network>
 *   network's device, and lo there  understudy:<cluster>:net:<network>
 *
 * A NIC gets its alias in the same message that brings it up, after the guard was attached: an alias
 * says "complete". Until then it is known by its device group, which a device can be born with.
 */
export const ourGroup = 0x7573_7479;

const prefix = 'understudy';
/** IFALIASZ is 256 with the terminating zero. */
const longestTag = 255;

export interface RoleTag {
  readonly kind: 'role';
  readonly cluster: string;
  readonly name: string;
  readonly epoch: number;
  readonly incarnation: number;
  /** Of a NIC; undefined for the namespace itself. */
  readonly network: string | undefined;
}

export interface NetworkTag {
  readonly kind: 'network';
  readonly cluster: string;
  readonly network: string;
}

export type Tag = RoleTag | NetworkTag;

export function tagText(tag: Tag): string {
  const parts =
    tag.kind === 'network'
      ? [tag.cluster, 'net', tag.network]
      : [tag.cluster, tag.name, String(tag.epoch), String(tag.incarnation)];
  if (tag.kind === 'role' && tag.network !== undefined) parts.push(tag.network);
  return [prefix, ...parts].join(':');
}

/** Undefined for what is no tag of ours. */
export function parseTag(alias: string): Tag | undefined {
  const [first, cluster = '', name = '', ...rest] = alias.split(':');
  if (first !== prefix || cluster === '' || name === '') return undefined;
  if (name === 'net' && rest.length === 1 && rest[0] !== undefined && rest[0] !== '') {
    return { kind: 'network', cluster, network: rest[0] };
  }
  const [epoch = '', incarnation = '', network, ...more] = rest;
  if (!/^\d+$/.test(epoch) || !/^\d+$/.test(incarnation) || more.length > 0) return undefined;
  return {
    kind: 'role',
    cluster,
    name,
    epoch: Number(epoch),
    incarnation: Number(incarnation),
    network,
  };
}

/** Whether the words can be part of a tag and of a path: no colon, no slash, not too long. */
export function fitsTag(words: readonly string[]): boolean {
  const simple = words.every((word) => /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(word));
  // Two numbers of at most 16 digits, and the colons.
  return simple && words.join(':').length + prefix.length + 2 * 17 + 2 <= longestTag;
}
