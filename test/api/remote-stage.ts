import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { put } from '../../src/agent/transactions.js';
import { RemoteApi } from '../../src/api/remote-server.js';
import type { Role } from '../../src/api/roles.js';
import { makeToken, type TokenEntry, writeTokenFile } from '../../src/api/token-file.js';
import { parseClusterFile } from '../../src/config/parse.js';
import type { ClusterConfig } from '../../src/config/types.js';
import { applyConfig } from '../../src/operate/apply.js';
import { Operations } from '../../src/operate/operations.js';
import { planInThread } from '../../src/operate/plan-thread.js';
import { MemoryStore } from '../../src/store/memory.js';
import { systemTimers, type Timers } from '../../src/store/timers.js';
import { source } from './source.js';

/** A certificate for 127.0.0.1, by itself. */
export function makeCertificate(folder: string): void {
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const names = ['-subj', '/CN=api', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync(
    'openssl',
    ['req', '-x509', '-days', '2', ...ec, ...names, '-keyout', 'key.pem', '-out', 'cert.pem'],
    { cwd: folder, stdio: 'ignore' },
  );
  chmodSync(join(folder, 'key.pem'), 0o600);
}

export const file = `
cluster: demo
controllers: [h1, h2, h3]
store: {endpoints: ["http://10.66.0.1:2379"]}
hosts:
  - {name: h1, address: 10.66.0.1}
  - {name: h2, address: 10.66.0.2}
  - {name: h3, address: 10.66.0.3}
  - {name: h4, address: 10.66.0.4}
networks: [{name: blue, fabric: vxlan, id: 100, subnet: 10.10.0.0/24}]
personalities:
  - {name: web1, networks: [{network: blue, address: 10.10.0.11/24}]}
  - {name: web2, networks: [{network: blue, address: 10.10.0.12/24}]}
`;

function configOf(text: string): ClusterConfig {
  const parsed = parseClusterFile(text, 'file');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** `error.code` of the answer. */
  readonly code: string;
}

export interface Ask {
  readonly method?: string;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** As it stands, instead of `body`. */
  readonly rawBody?: string | Buffer;
}

/** Made once for all APIs of a process: keys and hashes are what costs time. */
const certificateFiles = once(async () => {
  const folder = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-tls-`));
  try {
    makeCertificate(folder);
    return ['cert.pem', 'key.pem'].map(
      (name) => [name, readFileSync(join(folder, name), 'utf8')] as const,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const tokensOfEachRole = once(() => {
  const nowUnixMs = Date.now();
  return Promise.all(
    (['read', 'operate', 'admin', 'expired'] as const).map((name) =>
      makeToken({
        name,
        role: name === 'expired' ? 'admin' : (name satisfies Role),
        nowUnixMs,
        expiresUnixMs: nowUnixMs + (name === 'expired' ? -1 : 1_000_000),
      }),
    ),
  );
});

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

export interface RemoteOptions {
  readonly slowestRequestMs?: number;
  /** What counts how often somebody asks. */
  readonly timers?: Timers;
  readonly readAndPlan?: typeof planInThread;
}

/** One HTTPS API with a token of each role, in front of a store in memory. */
export async function openRemote(
  t: { teardown(work: () => unknown): void; comment(text: string): void },
  { slowestRequestMs, timers = systemTimers(), readAndPlan = planInThread }: RemoteOptions = {},
) {
  const folder = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-api-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of await certificateFiles())
    writeFileSync(join(folder, name), text, { mode: 0o600 });
  const tokens = join(folder, 'tokens.json');
  const made = await tokensOfEachRole();
  const entries: readonly TokenEntry[] = made.map(({ entry }) => entry);
  writeTokenFile(tokens, entries);
  const [read = '', operate = '', admin = '', expired = ''] = made.map(({ text }) => text);
  const store = await smallCluster();
  const api = new RemoteApi({
    source: source(),
    operations: new Operations({ cluster: 'demo', store, readAndPlan }),
    settings: {
      ...{ bind: '127.0.0.1', port: 0, tokens },
      tls: { certificate: join(folder, 'cert.pem'), key: join(folder, 'key.pem') },
    },
    timers,
    unixMs: () => Date.now(),
    warn: (text) => t.comment(text),
    ...(slowestRequestMs === undefined ? {} : { slowestRequestMs }),
  });
  const port = await api.start();
  t.teardown(() => api.stop());
  const ask = (path: string, how: Ask = {}) => askOnce(port, path, how);
  return { folder, tokens, entries, read, operate, admin, expired, store, api, port, ask };
}

export type Remote = Awaited<ReturnType<typeof openRemote>>;

async function smallCluster(): Promise<MemoryStore> {
  const store = new MemoryStore();
  const by = { who: 'test', from: 'test', host: 'h1' };
  await applyConfig(store, configOf(file), by);
  const assigned = { incarnation: 1, epoch: 1, state: 'assigned', cause: 'placed', reason: '' };
  await store.transact({
    compare: [],
    write: [
      ...['h1', 'h2', 'h3', 'h4'].map((name) =>
        put(`hosts/${name}`, { incarnation: 1, bootToken: name, enforced: true }),
      ),
      put('assign/personality/web1', { ...assigned, host: 'h1', to: null, failover: null }),
      put('assign/personality/web2', { ...assigned, host: 'h2', to: null, failover: null }),
    ],
  });
  return store;
}

/** One request on a connection of its own. */
export function askOnce(port: number, path: string, how: Ask): Promise<Answer> {
  const { method = 'GET', token, body, rawBody } = how;
  const payload = rawBody ?? (body === undefined ? undefined : JSON.stringify(body));
  const headers: Record<string, string> = { ...how.headers };
  if (token !== undefined) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] ??= 'application/json';
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, method, headers, rejectUnauthorized: false };
    const asked = request({ ...options, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      answer.on('end', () => {
        const code = /"code":"(US_\w+)"/.exec(text)?.[1] ?? '';
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, code });
      });
    });
    asked.on('error', reject);
    asked.end(payload);
  });
}

/** A connection on which a test writes what it likes; `answer` is all that came until its end. */
export function rawTls(port: number): Promise<{ socket: TLSSocket; answer: Promise<string> }> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      let text = '';
      socket.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      const answer = new Promise<string>((end) => socket.on('close', () => end(text)));
      socket.on('error', () => {});
      resolve({ socket, answer });
    });
    socket.once('error', reject);
  });
}
