import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { messageOf, UnderstudyError } from '../errors.js';
import { withOwnMounts } from '../ffi/own-mounts.js';
import type { ChapCredentials } from './chap.js';
import { type ChildResult, runChild } from './child.js';
import type { KernelSession } from './kernel-sessions.js';
import { splitPortal } from './portal.js';

/**
 * open-iscsi's own program, which tells iscsid what to log in to.
 *
 * Its records are files below /etc/iscsi, with Debian 13's (2.1.11) below /var/lib/iscsi, where the user has his own.
 * Each volume of ours has a folder instead, which iscsiadm alone sees there, in a mount namespace that ends with it. So no record of
 * the user's is ever touched (one of the same portal would be the same file), nothing of ours is logged in
 * to at a boot, all ends with /run, and a CHAP secret is in a file of mode 0600 in memory: never in an
 * argument, as `iscsiadm -o update -v SECRET` would have it.
 */
export interface LoginRecord {
  readonly folder: string;
  readonly interface: string;
  readonly initiator: string;
  readonly target: string;
  /** Each a session of its own. */
  readonly portals: readonly string[];
  readonly chap: ChapCredentials | undefined;
}

const loginTimeoutS = 3;
const logoutTimeoutS = 2;
/** iscsid tries twice at most, and ends what it has begun. */
const loginMs = 15_000;
const logoutMs = 10_000;

/**
 * All that open-iscsi has a default for in seconds, said. With `replacement_timeout` -1 what is written
 * waits for as long as the target is away, as with the user backend: no file system goes read-only by a
 * target that restarts. Who will not wait any longer aborts, and that ends the wait at once. A path beside
 * which there is another gives up soon: then it is the map that waits.
 */
const waitsForEver = -1;
const pathWaitsS = 2;

const settings = [
  'node.startup = manual',
  'node.leading_login = No',
  'node.session.scan = manual',
  'node.session.nr_sessions = 1',
  'node.session.initial_login_retry_max = 1',
  'node.session.err_timeo.abort_timeout = 5',
  'node.session.err_timeo.lu_reset_timeout = 5',
  'node.session.err_timeo.tgt_reset_timeout = 5',
  'node.session.err_timeo.host_reset_timeout = 10',
  'node.conn[0].startup = manual',
  `node.conn[0].timeo.login_timeout = ${loginTimeoutS}`,
  `node.conn[0].timeo.auth_timeout = ${loginTimeoutS}`,
  `node.conn[0].timeo.logout_timeout = ${logoutTimeoutS}`,
  'node.conn[0].timeo.noop_out_interval = 2',
  'node.conn[0].timeo.noop_out_timeout = 2',
  // The target decides, as with the user backend; here for the data as well.
  'node.conn[0].iscsi.HeaderDigest = None,CRC32C',
  'node.conn[0].iscsi.DataDigest = None,CRC32C',
] as const;

/** Pure: the record of the node, as `iscsiadm -m node -o new` would write it. */
export function nodeRecord(login: Omit<LoginRecord, 'folder'>, portal: string): string {
  const { host, port } = splitPortal(portal);
  const waitsS = login.portals.length > 1 ? pathWaitsS : waitsForEver;
  return lines([
    `node.name = ${login.target}`,
    // Unknown: the target tells it, and any is taken.
    'node.tpgt = -1',
    ...interfaceLines(login),
    ...settings,
    `node.session.timeo.replacement_timeout = ${waitsS}`,
    `node.conn[0].address = ${host}`,
    `node.conn[0].port = ${port}`,
    ...chapLines(login.chap),
  ]);
}

function interfaceLines(login: Pick<LoginRecord, 'interface' | 'initiator'>): readonly string[] {
  return [
    `iface.iscsi_ifacename = ${login.interface}`,
    'iface.transport_name = tcp',
    `iface.initiatorname = ${login.initiator}`,
  ];
}

function chapLines(chap: ChapCredentials | undefined): readonly string[] {
  if (chap === undefined) return ['node.session.auth.authmethod = None'];
  const { user, secret, mutual } = chap;
  return [
    'node.session.auth.authmethod = CHAP',
    'node.session.auth.chap_algs = MD5',
    `node.session.auth.username = ${user}`,
    `node.session.auth.password = ${secret}`,
    ...(mutual === undefined
      ? []
      : [
          `node.session.auth.username_in = ${mutual.user}`,
          `node.session.auth.password_in = ${mutual.secret}`,
        ]),
  ];
}

function lines(all: readonly string[]): string {
  return all.map((line) => `${line}\n`).join('');
}

/** Writes what `logIn` and `logOut` need. The folder ends with the volume's. */
export async function writeRecords(login: LoginRecord): Promise<void> {
  const nodes = `${login.folder}/nodes/${login.target}`;
  const secret = { mode: 0o600 };
  mkdirSync(nodes, { recursive: true, mode: 0o700 });
  mkdirSync(`${login.folder}/ifaces`, { recursive: true, mode: 0o700 });
  writeFileSync(`${login.folder}/ifaces/${login.interface}`, lines(interfaceLines(login)), secret);
  for (const portal of login.portals) {
    const { host, port } = splitPortal(portal);
    writeFileSync(`${nodes}/${host},${port}`, nodeRecord(login, portal), secret);
  }
  writeFileSync(`${login.folder}/iscsid.conf`, await startupLine(), secret);
}

/** How iscsid is started where it is not there: that is the user's to say. */
async function startupLine(): Promise<string> {
  const text = await readFile('/etc/iscsi/iscsid.conf', 'utf8').catch(() => '');
  return lines(text.split('\n').filter((line) => line.startsWith('iscsid.startup')));
}

/**
 * Logs in to its portals, to several side by side. Returns, or fails, when iscsid is done with it: an iscsiadm that was killed would
 * leave iscsid trying, so nothing cuts this short.
 *
 * Equals: `iscsiadm -m node -T TARGET -I INTERFACE --login`
 *
 * @throws {UnderstudyError} US_STORAGE_INITIATOR also where one of several failed
 */
export async function logIn(login: LoginRecord): Promise<void> {
  const { target, portals } = login;
  const node = ['-m', 'node', '-T', target, '-I', login.interface, '--login'];
  const object = `${target} at ${portals.join(', ')}`;
  await iscsiadm('cannot log in to', object, login.folder, node, loginMs);
}

/**
 * Equals: `iscsiadm -m session -r SID --logout`
 *
 * @throws {UnderstudyError} US_STORAGE_INITIATOR
 */
export async function logOut(folder: string, session: KernelSession): Promise<void> {
  // Logging out by the session's number asks for its interface record, and for no other.
  const home = `${folder}/ifaces`;
  mkdirSync(home, { recursive: true, mode: 0o700 });
  writeFileSync(`${home}/${session.interface}`, lines(interfaceLines(session)), { mode: 0o600 });
  const args = ['-m', 'session', '-r', String(session.id), '--logout'];
  await iscsiadm('cannot log out of', session.target, folder, args, logoutMs);
}

/** Its settings are in the first in any case; its records in the second where that is there. */
const homes = ['/etc/iscsi', '/var/lib/iscsi'] as const;

/**
 * The one program of a takeover, so nothing stands between it and us: where programs start slowly, an
 * unshare, a shell and a mount before it would take longer than the login.
 */
async function iscsiadm(
  action: string,
  object: string,
  folder: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<void> {
  const result = await started(folder, args, timeoutMs).catch((thrown: unknown) => {
    throw initiatorError(action, object, messageOf(thrown));
  });
  if (result.code === 0) return;
  const words = result.stderr.trim().split('\n').slice(-3).join(' ');
  throw initiatorError(
    action,
    object,
    result.timedOut
      ? `iscsiadm has not ended in ${timeoutMs / 1000} s`
      : words || 'iscsiadm failed',
  );
}

/** With our folder in place of the user's. */
async function started(
  folder: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<ChildResult> {
  const binds = homes
    .filter((target, at) => at === 0 || existsSync(target))
    .map((target) => ({ source: folder, target }));
  // runChild has started it when it returns.
  return withOwnMounts(binds, () => runChild('iscsiadm', args, { timeoutMs }));
}

export function initiatorError(action: string, object: string, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_INITIATOR',
    action,
    object,
    cause,
    remedy:
      'see that open-iscsi is installed, iscsid runs (systemctl start iscsid.socket), the kernel has iscsi_tcp; its log: journalctl -u iscsid',
  });
}
