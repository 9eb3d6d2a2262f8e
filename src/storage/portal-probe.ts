import { connect } from 'node:net';
import { within } from '../deadline.js';
import { messageOf, UnderstudyError } from '../errors.js';
import { assertNumericPortal, splitPortal } from './portal.js';
import type { AttachSpec } from './types.js';

const probeMs = 1_000;

/**
 * Whether one of the portals accepts TCP connections. Nothing is sent.
 *
 * @throws {UnderstudyError} US_STORAGE_UNREACHABLE, US_STORAGE_PORTAL
 */
export async function probePortals(
  spec: Pick<AttachSpec, 'portals' | 'target' | 'host'>,
  signal: AbortSignal,
): Promise<void> {
  const failures: string[] = [];
  for (const portal of spec.portals) {
    assertNumericPortal(portal);
    try {
      await connects(portal, signal);
      return;
    } catch (thrown) {
      signal.throwIfAborted();
      failures.push(`${portal}: ${messageOf(thrown)}`);
    }
  }
  throw new UnderstudyError({
    code: 'US_STORAGE_UNREACHABLE',
    action: 'cannot reach',
    object: `${spec.target} from ${spec.host}`,
    cause: failures.join('; ') || 'the volume has no portal',
    remedy: 'check the storage network and that the target daemon listens on this portal',
  });
}

function connects(portal: string, signal: AbortSignal): Promise<void> {
  const { host, port } = splitPortal(portal);
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const limit = within(probeMs, signal);
    const done = (thrown?: unknown) => {
      limit.removeEventListener('abort', onAbort);
      socket.destroy();
      if (thrown === undefined) resolve();
      else reject(thrown);
    };
    const onAbort = () => done(new Error(`no answer in ${probeMs} ms`));
    limit.addEventListener('abort', onAbort, { once: true });
    socket.once('connect', () => done());
    socket.once('error', done);
  });
}
