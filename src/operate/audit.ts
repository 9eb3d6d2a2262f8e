import { randomInt } from 'node:crypto';
import { hostname, userInfo } from 'node:os';
import { put } from '../agent/transactions.js';
import { auditKey, eventKey } from '../control/keys.js';
import { isReadable } from '../control/readable.js';
import type { AuditRecord, ChangeKind, EventRecord } from '../control/records.js';
import type { Operation, Store } from '../store/types.js';

/** Who asks for a change, and from where. */
export interface Actor {
  /** `root`, `alice (sudo)`, or the name of an API token. */
  readonly who: string;
  /** `command line on h1`, `API of h1, 10.0.0.9`. */
  readonly from: string;
  /** Where the change is written. */
  readonly host: string;
}

export interface Change {
  readonly what: ChangeKind;
  /** What it is done to: a host, a personality, the cluster. */
  readonly subject: string;
  readonly detail: string;
}

/** Names are people's: they are cut where somebody puts a novel there. */
const longestTextChars = 500;

/**
 * What goes into the transaction of a change, so that there is no change without its record: the entry
 * of the audit log, and the event that `events --follow` shows.
 */
export function auditOperations(actor: Actor, change: Change): readonly Operation[] {
  const atUnixMs = Date.now();
  const host = actor.host
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-')
    .slice(0, 63);
  const serial = randomInt(1_000_000);
  const { what, subject } = change;
  const [who, from, detail] = [actor.who, actor.from, change.detail].map(bounded);
  const record: AuditRecord = {
    atUnixMs,
    who: who ?? '',
    from: from ?? '',
    what,
    subject,
    detail: detail ?? '',
  };
  const event: EventRecord = {
    atUnixMs,
    host,
    kind: 'change',
    subject,
    text: `${record.detail} (${record.who}, ${record.from})`,
  };
  return [
    put(auditKey(atUnixMs, host, serial), record),
    put(eventKey(atUnixMs, host, serial), event),
  ];
}

/**
 * Whether a change was carried out whose transaction says that it was not: a try that timed out may have been,
 * and its repetition then finds what it compares changed, by this very change or by what others made of it since.
 * Its entry in the audit log, of which there is no second one, tells; no other comparison would.
 */
export async function isWritten(
  store: Pick<Store, 'get'>,
  audit: readonly Operation[],
): Promise<boolean> {
  for (const { key } of audit) if ((await store.get(key)) === undefined) return false;
  return true;
}

function bounded(text: string): string {
  const plain = text.replace(/\p{Cc}+/gu, ' ');
  return plain.length <= longestTextChars ? plain : `${plain.slice(0, longestTextChars)}…`;
}

/** Undefined for what is no such record: an entry of a later version, or somebody else's. */
export function auditOf(text: string): AuditRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isReadable('audit', value) ? (value as AuditRecord) : undefined;
  } catch {
    return undefined;
  }
}

/** The person at the command line. `sudo` leaves the name of who called it. */
export function personHere(environment: NodeJS.ProcessEnv = process.env): Actor {
  const host = hostname();
  const { SUDO_USER: sudo } = environment;
  const login = loginName();
  const who = sudo !== undefined && sudo !== login ? `${sudo} (as ${login})` : login;
  return { who, from: `command line on ${host}`, host };
}

/** A number where no account has it, as in a container. */
function loginName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? '?'}`;
  }
}
