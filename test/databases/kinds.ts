import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Ran } from '../../src/lab/shell.js';
import { type Entry, payloadOf, seedBytes } from './content.js';

/** Where commands of a database run: beside it, or at a client behind the virtual LAN. */
export interface Place {
  /** In the personality, with its volumes. */
  inside(argv: readonly string[]): ChildProcess;
  /** At a client of its network. */
  outside(argv: readonly string[]): ChildProcess;
  run(child: ChildProcess): Promise<Ran>;
  /** Like `run`; throws unless it succeeds. */
  must(child: ChildProcess): Promise<string>;
  readonly address: string;
}

/** A way to keep data, that must not lose what it acknowledged. */
export interface Kind {
  readonly name: 'log' | 'sqlite' | 'postgres';
  readonly mount: string;
  readonly sizeMiB: number;
  readonly clients: number;
  /** Shell, part of the personality's workload: starts what serves it, in the background. */
  readonly serve: string;
  /** Waits until it takes transactions; makes what must be there the first time. */
  ready(place: Place): Promise<void>;
  /** A client: takes transactions on its input, answers `ack SEQ`. */
  client(place: Place): ChildProcess;
  transaction(client: number, seq: number): string;
  read(place: Place): Promise<readonly Entry[]>;
  /** The database's own check; empty when it finds nothing. */
  check(place: Place): Promise<readonly string[]>;
}

const logProgram = fileURLToPath(new URL('./append-log.js', import.meta.url));

export const appendLog: Kind = {
  name: 'log',
  mount: '/srv/log',
  sizeMiB: 64,
  clients: 1,
  serve: '',
  ready: async () => {},
  client: (place) => place.inside([process.execPath, logProgram, '/srv/log/log']),
  transaction: (client, seq) => `${seq} ${client} ${payloadOf(client, seq)}\n`,
  read: async (place) =>
    parseRows(
      await place.must(place.inside([process.execPath, logProgram, '/srv/log/log', 'read'])),
    ),
  check: async () => [],
};

/** A head beside the entries, changed in the same transaction: half a transaction would show. */
const tables = (identifier: string) =>
  [
    `CREATE TABLE IF NOT EXISTS entry (client ${identifier}, seq ${identifier}, payload TEXT, PRIMARY KEY (client, seq));`,
    `CREATE TABLE IF NOT EXISTS head (client ${identifier} PRIMARY KEY, seq ${identifier});`,
  ].join('\n');
const changes = (client: number, seq: number) =>
  `INSERT INTO entry VALUES (${client}, ${seq}, '${payloadOf(client, seq)}');
INSERT INTO head VALUES (${client}, ${seq}) ON CONFLICT (client) DO UPDATE SET seq = excluded.seq;`;
/** `digestOf`, worked out by the database: all of the payload is looked at, little is sent. */
const everyEntry = (repeat: string) => `SELECT client || ' ' || seq || ' ' ||
  CASE WHEN payload = ${repeat}
  THEN substr(payload, 1, ${seedBytes}) || '*' || (length(payload) / ${seedBytes}) ELSE 'damaged' END
  FROM entry;`;
const seed = `substr(payload, 1, ${seedBytes})`;
const times = `length(payload) / ${seedBytes}`;
const sqliteEntries = everyEntry(`replace(hex(zeroblob(${times})), '00', ${seed})`);
const postgresEntries = everyEntry(`repeat(${seed}, ${times})`);
const everyHead = `SELECT head.client || ' ' || head.seq || ' ' || (SELECT max(seq) FROM entry WHERE entry.client = head.client) FROM head;`;

const sqliteArgv = ['sqlite3', '-batch', '-bail', '/srv/sqlite/db'];

export const sqlite: Kind = {
  name: 'sqlite',
  mount: '/srv/sqlite',
  sizeMiB: 64,
  clients: 2,
  serve: '',
  ready: async (place) => {
    const mode = `PRAGMA journal_mode=WAL; ${tables('INTEGER')}`;
    await place.must(place.inside([...sqliteArgv, mode]));
  },
  client: (place) => {
    // Small checkpoints, so that the main file is written, too.
    const settings = 'PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=20;';
    return place.inside([
      ...sqliteArgv.slice(0, 3),
      '-cmd',
      '.timeout 10000',
      ...['-cmd', settings],
      '/srv/sqlite/db',
    ]);
  },
  transaction: (client, seq) =>
    `BEGIN IMMEDIATE;\n${changes(client, seq)}\nCOMMIT;\n.print ack ${seq}\n`,
  read: async (place) => parseRows(await place.must(place.inside([...sqliteArgv, sqliteEntries]))),
  check: async (place) => {
    const said = await place.must(
      place.inside([...sqliteArgv, `PRAGMA integrity_check; ${everyHead}`]),
    );
    const [integrity = '', ...heads] = said.trim().split('\n');
    return [...(integrity === 'ok' ? [] : [`integrity_check: ${integrity}`]), ...tornHeads(heads)];
  },
};

/** Debian keeps each major version's programs in a folder of its own. */
const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : [];
const newest = Math.max(...versions.map(Number));
const postgresBin = `/usr/lib/postgresql/${newest}/bin`;
const psqlAt = (address: string) => [
  ...['psql', '-h', address, '-U', 'postgres', '-d', 'postgres'],
  ...['-qAtX', '-v', 'ON_ERROR_STOP=1'],
];
/** Ends the wait for a server that has no power; the writers have none. */
const bounded = ['timeout', '60'];

export const postgres: Kind = {
  name: 'postgres',
  mount: '/srv/postgres',
  sizeMiB: 256,
  clients: 3,
  // Shared memory of its own (ipc), so that nothing of a killed server stays on the machine. While the
  // file `hold` is there it is not started again.
  serve: `
as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
serve_postgres() {
  cd /srv/postgres
  if [ ! -e made ]; then
    rm -rf data
    install -d -o postgres -g postgres -m 700 data
    as_postgres ${postgresBin}/initdb -D data -U postgres -A trust --data-checksums --no-sync \\
      --no-locale -E UTF8 --wal-segsize=1 > /dev/null
    echo 'host all all all trust' >> data/pg_hba.conf
    sync -f .
    touch made
    sync -f .
  fi
  while :; do
    unshare --ipc -- setpriv --reuid=postgres --regid=postgres --clear-groups ${postgresBin}/postgres -D data \\
      -c listen_addresses='*' -c unix_socket_directories= -c dynamic_shared_memory_type=mmap \\
      -c shared_buffers=16MB -c max_wal_size=8MB -c min_wal_size=2MB -c checkpoint_timeout=30s \\
      -c max_connections=20 || :
    while [ -e hold ] || ! sleep 0.2; do sleep 0.1; done
  done
}
serve_postgres &`,
  ready: async (place) => {
    const { address } = place;
    const wait = `until pg_isready -q -h ${address} -U postgres; do sleep 0.05; done`;
    await place.must(place.outside([...bounded, 'sh', '-c', wait]));
    await place.must(place.outside([...bounded, ...psqlAt(address), '-c', tables('integer')]));
  },
  client: (place) => place.outside(psqlAt(place.address)),
  transaction: (client, seq) => `BEGIN;\n${changes(client, seq)}\nCOMMIT;\n\\echo ack ${seq}\n`,
  read: async (place) =>
    parseRows(
      await place.must(
        place.outside([...bounded, ...psqlAt(place.address), '-c', postgresEntries]),
      ),
    ),
  check: async (place) => {
    const { address } = place;
    const heads = await place.must(
      place.outside([...bounded, ...psqlAt(address), '-c', everyHead]),
    );
    // Reads every page of tables and indexes, whose checksums the server looks at.
    const amcheck = await place.run(
      place.outside([
        ...bounded,
        ...[`${postgresBin}/pg_amcheck`, '-h', address, '-U', 'postgres', '--install-missing'],
        ...['--heapallindexed', '-d', 'postgres'],
      ]),
    );
    const found = amcheck.code === 0 ? [] : [`pg_amcheck: ${amcheck.stdout}${amcheck.stderr}`];
    return [...found, ...tornHeads(heads.trim().split('\n'))];
  },
};

/** Checksums of every page on disk, with the server stopped in order. Faults; empty when clean. */
export async function checksumFaults(place: Place): Promise<readonly string[]> {
  const script = `
cd /srv/postgres && touch hold
run() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
run ${postgresBin}/pg_ctl stop -s -m fast -D data
run ${postgresBin}/pg_checksums --check -D data
code=$?
rm hold
exit $code`;
  const ran = await place.run(place.inside(['bash', '-c', script]));
  const clean = ran.code === 0 && /Bad checksums:\s+0$/m.test(ran.stdout);
  return clean ? [] : [`pg_checksums: ${ran.stdout}${ran.stderr}`];
}

function parseRows(text: string): readonly Entry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [client, seq, digest = ''] = line.split(' ');
      return { client: Number(client), seq: Number(seq), digest };
    });
}

function tornHeads(lines: readonly string[]): readonly string[] {
  return lines
    .filter((line) => line !== '')
    .filter((line) => {
      const [, head, newest] = line.split(' ');
      return head !== newest;
    })
    .map((line) => `half a transaction: client, head, newest are ${line}`);
}

export const kinds: readonly Kind[] = [appendLog, sqlite, postgres];
