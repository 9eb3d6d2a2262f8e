import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { EtcdStore } from '../../src/store/etcd.js';
import type { TlsFiles } from '../../src/store/settings.js';
import { freePorts } from './etcd-cluster.js';

/** An authority, a member's certificate for 127.0.0.1, and a client's. */
function makeCertificates(folder: string): void {
  const openssl = (...args: readonly string[]) =>
    execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const ca = ['-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=test authority'];
  openssl('req', '-x509', '-days', '2', ...key, ...ca);
  writeFileSync(join(folder, 'server.ext'), 'subjectAltName=IP:127.0.0.1\n');
  writeFileSync(join(folder, 'client.ext'), 'extendedKeyUsage=clientAuth\n');
  for (const name of ['server', 'client']) {
    openssl(
      'req',
      '-new',
      ...key,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      `/CN=${name}`,
    );
    openssl(
      ...['x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key'],
      ...['-CAcreateserial', '-days', '2', '-extfile', `${name}.ext`, '-out', `${name}.pem`],
    );
    chmodSync(join(folder, `${name}.key`), 0o600);
  }
}

/** One real member that takes nobody without a certificate of the authority. */
async function startMember(t: Test) {
  const folder = mkdtempSync(join('/dev/shm', `ustest-${process.pid}-tls-`));
  makeCertificates(folder);
  const [client = 0, peer = 0] = await freePorts(2);
  const endpoint = `https://127.0.0.1:${client}`;
  const peerUrl = `http://127.0.0.1:${peer}`;
  const etcd = spawn(
    'etcd',
    [
      ...['--name', 'm', '--data-dir', join(folder, 'data'), '--log-level', 'error'],
      ...['--listen-client-urls', endpoint, '--advertise-client-urls', endpoint],
      ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
      ...['--initial-cluster', `m=${peerUrl}`, '--client-cert-auth'],
      ...['--trusted-ca-file', join(folder, 'ca.pem')],
      ...['--cert-file', join(folder, 'server.pem'), '--key-file', join(folder, 'server.key')],
    ],
    { stdio: 'ignore' },
  );
  t.teardown(async () => {
    const gone = once(etcd, 'exit');
    etcd.kill('SIGKILL');
    await gone;
    rmSync(folder, { recursive: true, force: true });
  });
  const open = (tls?: TlsFiles, prefix = '/tls/') => {
    const store = new EtcdStore({ endpoints: [endpoint], prefix, tls });
    t.teardown(() => store.stop());
    return store;
  };
  const file = (name: string) => join(folder, name);
  const control = (...args: readonly string[]) =>
    execFileSync(
      'etcdctl',
      [
        ...[`--endpoints=${endpoint}`, `--cacert=${file('ca.pem')}`],
        ...[`--cert=${file('client.pem')}`, `--key=${file('client.key')}`, ...args],
      ],
      { env: { ...process.env, ETCDCTL_API: '3' }, stdio: 'pipe' },
    );
  return { open, file, control };
}

test('where etcd has roles, they go by the certificate’s common name', async (t) => {
  const { open, file, control } = await startMember(t);
  const own = { ca: file('ca.pem'), certificate: file('client.pem'), key: file('client.key') };
  const store = open(own);
  await store.get('ready', { budgetMs: 20_000 });
  for (const words of [
    'user add root:secret',
    'user grant-role root root',
    'role add agent',
    'role grant-permission agent --prefix=true readwrite /tls/',
    'user add client --no-password',
    'user grant-role client agent',
    'auth enable',
  ])
    control(...words.split(' '));
  const stop = new AbortController();
  const elected = new Promise<void>((resolve) => {
    store.campaign('leader', 'client', { elected: () => resolve(), lost: () => {} }, stop.signal);
  });
  await store.transact({ compare: [], write: [{ kind: 'put', key: 'a', value: 'by role' }] });
  t.equal((await store.get('a'))?.value, 'by role');
  await elected;
  stop.abort();
  const elsewhere = open(own, '/other/');
  await t.rejects(elsewhere.get('a', { budgetMs: 2_000 }), { message: /permission denied/ });
  const write = { compare: [], write: [{ kind: 'put', key: 'a', value: 'b' }] } as const;
  await t.rejects(elsewhere.transact(write, { budgetMs: 2_000 }), { message: /permission denied/ });
});

test('a member that wants certificates serves those who have one, and nobody else', async (t) => {
  const { open, file } = await startMember(t);
  const own = { ca: file('ca.pem'), certificate: file('client.pem'), key: file('client.key') };
  const store = open(own);
  await store.get('ready', { budgetMs: 20_000 });
  let begun = () => {};
  const watching = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const heard = new Promise<string>((resolve) => {
    store.watch(
      '',
      {
        snapshot: () => begun(),
        changes: ([change]) => {
          if (change?.kind === 'put') resolve(change.entry.value);
        },
      },
      new AbortController().signal,
    );
  });
  // A write before the first snapshot may be in it, and then never comes as a change.
  await watching;
  await store.transact({ compare: [], write: [{ kind: 'put', key: 'a', value: 'by TLS' }] });
  t.equal((await store.get('a'))?.value, 'by TLS');
  t.equal(await heard, 'by TLS', 'watches go by TLS too');
  const nobody = open({ ca: own.ca });
  await t.rejects(nobody.get('a', { budgetMs: 500 }), { code: 'US_STORE_UNREACHABLE' });
  const trusting = open({ certificate: own.certificate, key: own.key });
  await t.rejects(
    trusting.get('a', { budgetMs: 500 }),
    { code: 'US_STORE_UNREACHABLE', message: /certificate/ },
    'a member whose authority is unknown is not believed',
  );
  chmodSync(own.key, 0o644);
  t.throws(() => open(own), { code: 'US_STORE_TLS', message: /chmod 0600/ });
  t.throws(() => open({ ca: file('server.ext') }), { code: 'US_STORE_TLS', message: /no PEM/ });
  t.throws(() => open({ ca: file('nothing') }), { code: 'US_STORE_TLS', message: /ENOENT/ });
});
