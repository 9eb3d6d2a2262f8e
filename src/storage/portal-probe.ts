import { connect } from 'node:net';
import { within } from '../deadline.js';
import { messageOf, UnderstudyError } from '../errors.js';
import { assertNumericPortal, splitPortal } from './portal.js';
import type { AttachSpec } from './types.js';

const probeMs = 1_000;
const quickProbeMs = 300;

/**
 * Whether one of the portals accepts TCP connections. Nothing is sent.
 *
 * @throws {UnderstudyError} US_STORAGE_UNREACHABLE, US_STORAGE_PORTAL
 */
export async function probePortals(
  spec: Pick<AttachSpec, 'portals' | 'target' | 'host'>,
  signal: AbortSignal,
): Promise<void> {
  const failure = await portalsFailure(spec.portals, signal);
  if (failure === undefined) return;
  throw new UnderstudyError({
    code: 'US_STORAGE_UNREACHABLE',
    action: 'cannot reach',
    object: `${spec.target} from ${spec.host}`,
    cause: failure,
    remedy: 'check the storage network and that the target daemon listens on this portal',
  });
}

/**
 * Why none of the portals accepts a TCP connection, a second for each; undefined: one does.
 *
 * @throws {UnderstudyError} US_STORAGE_PORTAL
 */
export async function portalsFailure(
  portals: readonly string[],
  signal: AbortSignal,
): Promise<string | undefined> {
  const failures: string[] = [];
  for (const portal of portals) {
    assertNumericPortal(portal);
    try {
      await connects(portal, signal);
      return undefined;
    } catch (thrown) {
      signal.throwIfAborted();
      failures.push(`${portal}: ${messageOf(thrown)}`);
    }
  }
  return failures.join('; ') || 'the volume has no portal';
}

/**
 * Those that accept TCP connections, in the order of the volume. Nothing is sent. One that takes long is
 * taken for one that does not answer: a takeover waits for it.
 */
export async function answeringPortals(
  { portals }: Pick<AttachSpec, 'portals'>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const asked = portals.map(async (portal) => {
    assertNumericPortal(portal);
    const answers = await connects(portal, signal, quickProbeMs).then(
      () => true,
      () => false,
    );
    return answers ? [portal] : [];
  });
  return (await Promise.all(asked)).flat();
}

function connects(portal: string, signal: AbortSignal, waitMs = probeMs): Promise<void> {
  const { host, port } = splitPortal(portal);
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const limit = within(waitMs, signal);
    const done = (thrown?: unknown) => {
      limit.removeEventListener('abort', onAbort);
      socket.destroy();
      if (thrown === undefined) resolve();
      else reject(thrown);
    };
    const onAbort = () => done(new Error(`no answer in ${waitMs} ms`));
    limit.addEventListener('abort', onAbort, { once: true });
    socket.once('connect', () => done());
    socket.once('error', done);
  });
}
