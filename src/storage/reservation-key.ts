import { createHash } from 'node:crypto';

/**
 * Keys of persistent reservations: 16 bits of the cluster's name, 16 of the host's, 32 of the epoch. The
 * epoch alone tells the owners of a volume apart; cluster and host tell a person, and us, whose it is.
 * Pure.
 */
export interface KeyOwner {
  readonly cluster: string;
  readonly host: string;
  readonly epoch: number;
}

const epochBits = 32n;
const hostBits = 16n;

/** Never zero: that means "not registered" (SPC-4 6.16.3). */
export function reservationKey({ cluster, host, epoch }: KeyOwner): bigint {
  return (
    (shortHash(cluster) << (hostBits + epochBits)) | (shortHash(host) << epochBits) | BigInt(epoch)
  );
}

/** Undefined for a key of somebody else: another cluster, or another program. */
export function epochOf(key: bigint, cluster: string): number | undefined {
  if (key >> (hostBits + epochBits) !== shortHash(cluster)) return undefined;
  return Number(BigInt.asUintN(Number(epochBits), key));
}

/** 1 to 65535. */
function shortHash(name: string): bigint {
  const digest = createHash('sha256').update(name).digest();
  return BigInt((digest.readUInt16BE(0) % 0xffff) + 1);
}

export function keyText(key: bigint): string {
  return `0x${key.toString(16).padStart(16, '0')}`;
}

/** Which of these hosts a key of ours is of; undefined for a host of another name. */
export function hostOf(key: bigint, hosts: readonly string[]): string | undefined {
  const hash = BigInt.asUintN(Number(hostBits), key >> epochBits);
  return hosts.find((host) => shortHash(host) === hash);
}
