import { status } from '@grpc/grpc-js';
import { messageOf } from '../errors.js';

/** What Node's and the C library's short names mean to who has to act on them; the name stays, to be looked up. */
const networkErrors: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network unreachable',
  ETIMEDOUT: 'connecting timed out',
};

/**
 * What gRPC or etcd said, for a person: without the status number, without the list of what gRPC tried and for how
 * many thousandths of a second. etcd's own words stay as they are.
 *
 * @returns one line, no full stop: `connection refused (ECONNREFUSED)`
 */
export function inWords(thrown: unknown): string {
  const message = messageOf(thrown).replace(/^\d+ [A-Z_]+: /, '');
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  if (code === status.DEADLINE_EXCEEDED) return 'no answer in time';
  const inner = message
    .replace(/^No connection established\. Last error: /, '')
    .replace(/ Resolution note: .*$/s, '')
    .replace(/^Error: /, '');
  for (const [name, meaning] of Object.entries(networkErrors)) {
    if (inner.includes(name)) return `${meaning} (${name})`;
  }
  return inner.replace(/\s+/g, ' ').replace(/[.\s]+$/, '');
}
