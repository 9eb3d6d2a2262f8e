import type { ChildProcess } from 'node:child_process';
import { parseClusterFile } from '../../src/config/parse.js';
import { Claims } from '../../src/demo/claims.js';
import { openStage } from '../../src/demo/open-stage.js';
import { must, personality, type Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import { collect } from '../../src/lab/shell.js';
import { incarnationOf, untilRuns, untilSpare } from '../lab/harness.js';
import { faultsOf } from './content.js';
import { checksumFaults, type Kind, type Place } from './kinds.js';
import { Writer } from './writer.js';

/** Cuts the power of a host whose databases are written to, and looks at what the next host finds. */

export interface PowerCutOptions {
  readonly kills: number;
  readonly kinds: readonly Kind[];
  readonly filesystem: 'ext4' | 'xfs';
  readonly seed: number;
  readonly signal: AbortSignal;
  say(line: string): void;
}

export interface PowerCutResult {
  readonly cuts: number;
  /** Transactions that were acknowledged, by kind. */
  readonly acknowledged: Readonly<Record<string, number>>;
  /** What was wrong, each with its cut; empty is as it should be. */
  readonly faults: readonly string[];
  /** From storage record: fence and storage steps, ms, one for each cut. */
  readonly storageMs: readonly number[];
}

const name = 'db';
const address = '10.10.0.11';
/** In each life every client is acknowledged at least so many, and one of them up to so many more. */
const leastPerLife = 2;
const mostMorePerLife = 60;
const lifeMs = 60_000;
/** How soon a host is back is not judged here. */
const backMs = 180_000;
/**
 * Of a copy, $0. A frozen ext4 has nothing left in its journal. A frozen XFS has, so that a snapshot is
 * always recovered (fs/xfs/xfs_super.c, xfs_fs_freeze): the copy is mounted once.
 */
const checks = {
  ext4: 'e2fsck -f -n "$0"',
  xfs: 'mkdir "$0.d" && mount -o loop,nouuid "$0" "$0.d" && umount "$0.d" && rmdir "$0.d" && xfs_repair -n "$0"',
} as const;

export async function cutPower(options: PowerCutOptions): Promise<PowerCutResult> {
  const { kinds, signal, say } = options;
  const parsed = parseClusterFile(clusterFile(kinds, options.filesystem));
  if (!parsed.ok || parsed.lab === undefined) throw new Error(JSON.stringify(parsed));
  const { stage, lab, close } = await openStage(
    parsed.config,
    parsed.lab,
    new Claims(),
    say,
    signal,
  );
  try {
    const run = new Run(stage, lab, options);
    await run.all();
    return run.result;
  } finally {
    await close();
  }
}

class Run {
  readonly #stage: Stage;
  readonly #lab: Lab;
  readonly #options: PowerCutOptions;
  readonly #random: () => number;
  readonly #faults: string[] = [];
  readonly #storageMs: number[] = [];
  /** Last acknowledged transaction, by kind and client. */
  readonly #acknowledged = new Map<Kind, Map<number, number>>();
  #cuts = 0;
  #host = '';

  constructor(stage: Stage, lab: Lab, options: PowerCutOptions) {
    this.#stage = stage;
    this.#lab = lab;
    this.#options = options;
    this.#random = randomFrom(options.seed);
    for (const kind of options.kinds) {
      const clients = Array.from({ length: kind.clients }, (_, index) => [index + 1, 0] as const);
      this.#acknowledged.set(kind, new Map(clients));
    }
  }

  get result(): PowerCutResult {
    const sums = [...this.#acknowledged].map(([kind, clients]) => [
      kind.name,
      [...clients.values()].reduce((sum, last) => sum + last, 0),
    ]);
    return {
      cuts: this.#cuts,
      acknowledged: Object.fromEntries(sums),
      faults: this.#faults,
      storageMs: this.#storageMs,
    };
  }

  async all(): Promise<void> {
    const { kinds, kills, signal } = this.#options;
    let { host } = personality(await this.#stage.status(), name);
    this.#host = host ?? '';
    for (const kind of kinds) await kind.ready(this.#place);
    let back: Promise<void> = Promise.resolve();
    while (this.#cuts < kills) {
      signal.throwIfAborted();
      const writers = this.#write();
      try {
        // The next host must be there before this one goes.
        await back;
        await this.#untilRandom(writers);
        const before = await this.#stage.status();
        ({ host } = personality(before, name));
        const lost = host ?? '';
        await this.#lab.kill(lost);
        await this.#note(writers);
        await this.#takenOver(personality(before, name).epoch + 1);
        back = this.#lab
          .start(lost)
          .then(() => untilSpare(this.#stage, lost, incarnationOf(before, lost), backMs));
        back.catch(() => {});
      } finally {
        for (const [, writer] of writers) await writer.end();
      }
      await this.#judge();
    }
    await back;
    if (kinds.some(({ name: kind }) => kind === 'postgres')) {
      this.#fault(await checksumFaults(this.#place));
    }
  }

  get #place(): Place {
    const lab = this.#lab;
    const spawn = { stdio: ['pipe', 'pipe', 'pipe'] as ['pipe', 'pipe', 'pipe'] };
    const run = (child: ChildProcess) => collect(child);
    return {
      address,
      inside: (argv) => lab.spawn(lab.personalityCommand(this.#host, name, argv), spawn),
      outside: (argv) => lab.spawn(lab.command('c1', argv), spawn),
      run,
      must: async (child) => {
        const { code, stdout, stderr } = await run(child);
        if (code === 0) return stdout;
        throw new Error(`${child.spawnargs.join(' ')} ended with ${code}: ${stderr.trim()}`);
      },
    };
  }

  #write(): ReadonlyMap<string, Writer> {
    const writers = new Map<string, Writer>();
    for (const [kind, clients] of this.#acknowledged) {
      for (const [client, last] of clients) {
        const transaction = (seq: number) => kind.transaction(client, seq);
        writers.set(
          `${kind.name} ${client}`,
          new Writer(kind.client(this.#place), transaction, last),
        );
      }
    }
    return writers;
  }

  /** A moment in the life of this host: some client's so-and-so-many-th acknowledgement. */
  async #untilRandom(writers: ReadonlyMap<string, Writer>): Promise<void> {
    const all = [...writers.values()];
    await Promise.all(
      all.map((writer) => writer.until(writer.acknowledged + leastPerLife, lifeMs)),
    );
    const chosen = all[Math.floor(this.#random() * all.length)];
    const more = 1 + Math.floor(this.#random() * mostMorePerLife);
    await chosen?.until(chosen.acknowledged + more, lifeMs);
  }

  /** What each client was told, all of it: also what it heard just before the power went. */
  async #note(writers: ReadonlyMap<string, Writer>): Promise<void> {
    for (const [kind, clients] of this.#acknowledged) {
      for (const client of clients.keys()) {
        const last = await writers.get(`${kind.name} ${client}`)?.end();
        if (last !== undefined) clients.set(client, last);
      }
    }
  }

  async #takenOver(epoch: number): Promise<void> {
    await untilRuns(this.#stage, name, epoch);
    // Nobody else is on its network who could verify it: the record is looked at as it is.
    const record = await this.#stage.failover(name, epoch, 1);
    if (record.outcome === 'failed') throw new Error(`not taken over: ${JSON.stringify(record)}`);
    this.#cuts += 1;
    this.#host = record.to;
    const step = record.steps.find((one) => one.name === 'storage');
    if (step !== undefined) this.#storageMs.push(step.endMs - step.startMs);
  }

  async #judge(): Promise<void> {
    const { kinds, say } = this.#options;
    const counts = await Promise.all(kinds.map((kind, index) => this.#judgeOne(kind, index)));
    say(`cut ${this.#cuts}: taken over by ${this.#host}: ${counts.join(', ')}`);
  }

  /** @returns how much is there */
  async #judgeOne(kind: Kind, index: number): Promise<string> {
    const place = this.#place;
    this.#fault(await this.#filesystemFaults(kind, index));
    await kind.ready(place);
    const acknowledged = this.#acknowledged.get(kind) ?? new Map<number, number>();
    const entries = await kind.read(place);
    this.#fault(faultsOf(entries, acknowledged));
    this.#fault(await kind.check(place));
    // What was under way when the power went, and is there.
    let unheard = 0;
    for (const { client, seq } of entries) {
      if (seq <= (acknowledged.get(client) ?? 0)) continue;
      acknowledged.set(client, seq);
      unheard += 1;
    }
    return `${kind.name} ${entries.length}${unheard > 0 ? ` (${unheard} unheard)` : ''}`;
  }

  /**
   * The file system as the takeover's mount left it: frozen for the moment in which the LUN's bytes are
   * copied beside the target, and checked there. A fault that the journal does not cure shows.
   */
  async #filesystemFaults(kind: Kind, index: number): Promise<readonly string[]> {
    const volume = this.#stage.config.volumes[index];
    const file = this.#lab.backingFile(volume?.target ?? '', volume?.lun ?? 0);
    const copy = `${file}.copy`;
    const mount = `/run/understudy/${name}/${index}`;
    const stage = this.#stage;
    await must(stage, this.#host, ['fsfreeze', '-f', mount]);
    try {
      await must(stage, 'storage', ['cp', '--sparse=always', file, copy]);
    } finally {
      await must(stage, this.#host, ['fsfreeze', '-u', mount]);
    }
    const ran = await stage.lab.exec('storage', [
      'sh',
      '-c',
      checks[this.#options.filesystem],
      copy,
    ]);
    await must(stage, 'storage', ['rm', copy]);
    if (ran.code === 0) return [];
    return [`${kind.name}: ${ran.stdout}${ran.stderr}`];
  }

  #fault(found: readonly string[]): void {
    for (const text of found) {
      this.#options.say(`FAULT after cut ${this.#cuts}: ${text}`);
      this.#faults.push(`cut ${this.#cuts}: ${text}`);
    }
  }
}

/** Three controllers that carry nothing, two hosts that take turns; a volume for each kind. */
function clusterFile(kinds: readonly Kind[], filesystem: string): string {
  const target = (kind: Kind) => `iqn.2026-11.example.lab:${kind.name}`;
  const script = `set -u\n${kinds.map(({ serve }) => serve).join('\n')}\nwait\nexec sleep infinity`;
  const definition = {
    cluster: 'databases',
    controllers: ['h1', 'h2', 'h3'],
    hosts: [
      ...['h1', 'h2', 'h3'].map((host) => ({ name: host, pool: 'none' })),
      ...['h4', 'h5'].map((host) => ({ name: host })),
    ],
    networks: [{ name: 'blue', fabric: 'auto', id: 100, subnet: '10.10.0.0/24' }],
    volumes: kinds.map((kind) => ({
      name: `${kind.name}-data`,
      target: target(kind),
      lun: 1,
      filesystem,
      format: 'if-blank',
    })),
    personalities: [
      {
        name,
        networks: [{ network: 'blue', address: `${address}/24` }],
        storage: kinds.map((kind, lun) => ({
          lun,
          volume: `${kind.name}-data`,
          mount: kind.mount,
        })),
        workload: { command: ['bash', '-c', script] },
      },
    ],
    lab: {
      clients: [{ name: 'c1', network: 'blue', address: '10.10.0.200/24' }],
      storage: kinds.map((kind) => ({
        target: target(kind),
        // mkfs.xfs makes nothing smaller.
        luns: [{ lun: 1, size: `${filesystem === 'xfs' ? 320 : kind.sizeMiB}MiB` }],
      })),
    },
  };
  // JSON is YAML.
  return JSON.stringify(definition);
}

/** xorshift32: the same moments again for the same seed, as far as the machine lets it. */
function randomFrom(seed: number): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
