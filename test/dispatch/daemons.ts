import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import type { TestNamespace } from '../bpf-net.js';
import { vip4, vip6 } from './stage.js';

export const ports = {
  http: 8080,
  dns: 53,
  ftp: 21,
  iperf: 5201,
  nfs: 2049,
  mount: 20_048,
} as const;
/** Of FTP's data: active from 20, passive to these. */
export const passive = { first: 40_000, last: 40_063 } as const;
const mostLooks = 500;

/** A server of Debian's in a member's namespace, ended with the test; resolves when it listens. */
async function daemon(
  t: Test,
  at: TestNamespace,
  socket: string,
  command: readonly string[],
): Promise<void> {
  const child = spawn('ip', ['netns', 'exec', at.name, ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => said.push(bytes.toString()));
  }
  t.teardown(() => end(child));
  for (let look = 0; look < mostLooks; look += 1) {
    if (child.exitCode !== null) break;
    if ((await at.exec('ss', '-Hlntu')).includes(` ${socket} `)) return;
    await pause(20);
  }
  throw new Error(`${command.join(' ')} does not listen on ${socket}: ${said.join('')}`);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  process.kill(-child.pid, 'SIGKILL');
  await ended;
}

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-daemon-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Says its member's name for each request; keeps connections open as it always does. */
export async function nginx(t: Test, at: TestNamespace, name: string): Promise<void> {
  const folder = folderOf(t);
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((one) => `${one}_temp_path ${folder}/${one};`)
    .join(' ');
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off; master_process off; pid ${folder}/pid; error_log stderr;
events { worker_connections 4096; }
http { access_log off; ${paths} keepalive_requests 100000;
  server { listen ${vip4}:${ports.http} backlog=2048; listen [${vip6}]:${ports.http};
    location / { return 200 ${name}; } } }
`,
  );
  const command = ['nginx', '-p', folder, '-c', join(folder, 'nginx.conf')];
  await daemon(t, at, `${vip4}:${ports.http}`, command);
}

/** Has its member's name as the TXT record `who`, and a long one that UDP's 512 bytes do not hold. */
export async function dnsmasq(t: Test, at: TestNamespace, name: string): Promise<void> {
  const long = Array.from({ length: 8 }, (_, part) => `${name}-${part}-${'x'.repeat(200)}`);
  await daemon(t, at, `${vip4}:${ports.dns}`, [
    ...['dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--log-facility=-'],
    ...['--no-resolv', '--no-hosts', '--pid-file=', '--user=root', '--bind-interfaces'],
    ...[`--listen-address=${vip4}`, `--listen-address=${vip6}`],
    ...[`--txt-record=who.test,${name}`, `--txt-record=long.test,${long.join(',')}`],
  ]);
}

/** Has its member's name in the file `name`, and takes what is sent into `incoming`. */
export async function vsftpd(t: Test, at: TestNamespace, name: string): Promise<string> {
  const folder = folderOf(t);
  const root = join(folder, 'root');
  mkdirSync(join(root, 'incoming'), { recursive: true });
  mkdirSync(join(folder, 'empty'));
  writeFileSync(join(root, 'name'), name);
  const settings = {
    listen: 'YES',
    listen_ipv6: 'NO',
    listen_address: vip4,
    background: 'NO',
    anonymous_enable: 'YES',
    anon_root: root,
    secure_chroot_dir: join(folder, 'empty'),
    connect_from_port_20: 'YES',
    pasv_address: vip4,
    pasv_min_port: passive.first,
    pasv_max_port: passive.last,
    xferlog_enable: 'NO',
  };
  const file = join(folder, 'vsftpd.conf');
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
  writeFileSync(file, lines.join(''), { mode: 0o600 });
  await daemon(t, at, `${vip4}:${ports.ftp}`, ['vsftpd', file]);
  return root;
}

/** One test after the other. */
export async function iperf(t: Test, at: TestNamespace): Promise<void> {
  await daemon(t, at, `${vip4}:${ports.iperf}`, ['iperf3', '--server', '--bind', vip4]);
}

/**
 * In namespaces of its own. `$2` stands in the file `name` of a file system that no other member has: a file's
 * handle means nothing to another member.
 */
const ganeshaScript = `
mount -t tmpfs none /run && mkdir -p /run/rpcbind /var/lib/nfs && mount -t tmpfs none /var/lib/nfs || exit
mkdir -p /var/lib/nfs/ganesha /run/ganesha && mount -t tmpfs none /srv && echo "$2" > /srv/name || exit
rpcbind -w || exit
exec ganesha.nfsd -F -L STDOUT -f "$1" -p /run/ganesha.pid
`;

/**
 * NFS-Ganesha: version 3 with the mount protocol on a port of its own, and 4. Exports /srv with its member's name
 * in the file `name`, writable.
 */
export async function ganesha(t: Test, at: TestNamespace, name: string): Promise<void> {
  const file = join(folderOf(t), 'ganesha.conf');
  writeFileSync(
    file,
    `NFS_CORE_PARAM { Protocols = 3,4; NFS_Port = ${ports.nfs}; MNT_Port = ${ports.mount}; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; }
NFSV4 { Graceless = true; UseGetpwnam = true; }
EXPORT { Export_Id = 1; Path = /srv; Pseudo = /srv; Access_Type = RW; Squash = No_Root_Squash; SecType = sys; FSAL { Name = VFS; } }
`,
  );
  const apart = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  await daemon(t, at, `*:${ports.nfs}`, [...apart, 'sh', '-c', ganeshaScript, 'sh', file, name]);
}
