import { createHash } from 'node:crypto';

/** What transaction `seq` of a client writes: reproducible, so that whoever reads it can judge it. */
export function payloadOf(client: number, seq: number): string {
  const seed = createHash('sha256').update(`${client}/${seq}`).digest('hex');
  // Some span several sectors and pages, so that they can be torn.
  return seed.repeat(1 + (Number.parseInt(seed.slice(0, 2), 16) % 24));
}

/** Bytes of the text that a payload repeats. */
export const seedBytes = 64;

/** A payload in short: what it repeats, and how often; anything else is damaged. */
export function digestOf(payload: string): string {
  const seed = payload.slice(0, seedBytes);
  const times = payload.length / seedBytes;
  return Number.isInteger(times) && seed.repeat(times) === payload ? `${seed}*${times}` : 'damaged';
}

/** A transaction as it was read back. */
export interface Entry {
  readonly client: number;
  readonly seq: number;
  readonly digest: string;
}

/**
 * What is wrong with what a database holds; empty when nothing is. Pure.
 *
 * A client sends its next transaction when the last was acknowledged: so one more than that may be
 * there, complete, and nothing else.
 *
 * @param acknowledged the last acknowledged transaction of each client
 */
export function faultsOf(
  entries: readonly Entry[],
  acknowledged: ReadonlyMap<number, number>,
): readonly string[] {
  const faults: string[] = [];
  const lists = new Map<number, number[]>();
  for (const { client, seq, digest } of entries) {
    if (digest !== digestOf(payloadOf(client, seq)))
      faults.push(`${client}/${seq} has other content`);
    const list = lists.get(client) ?? [];
    lists.set(client, list);
    list.push(seq);
  }
  for (const [client, last] of acknowledged) {
    const found = (lists.get(client) ?? []).sort((a, b) => a - b);
    const missing = [];
    const there = new Set(found);
    for (let seq = 1; seq <= last; seq += 1) if (!there.has(seq)) missing.push(seq);
    if (missing.length > 0) {
      faults.push(
        `client ${client}: ${missing.length} of ${last} acknowledged are lost, first ${missing[0]}`,
      );
    }
    if (there.size !== found.length) faults.push(`client ${client}: some are there twice`);
    const newest = found.at(-1) ?? 0;
    if (newest > last + 1) faults.push(`client ${client}: ${newest} was never sent`);
  }
  return faults;
}

/**
 * The records whose checksum is right. A torn one may only be the last of a life: nobody was told that
 * it is there, and the next life's records follow in the same line.
 */
export function parseLog(text: string): readonly Entry[] {
  return text.split('\n').flatMap((line) => {
    const found = /([0-9a-f]{64}) ((\d+) (\d+) ([0-9a-f]+))$/.exec(line);
    if (found === null) return [];
    const [, sum, rest = '', seq, client, payload = ''] = found;
    if (createHash('sha256').update(rest).digest('hex') !== sum) return [];
    return [{ client: Number(client), seq: Number(seq), digest: digestOf(payload) }];
  });
}
