import { RemoteApi } from '../api/remote-server.js';
import { messageOf } from '../errors.js';
import { Operations } from '../operate/operations.js';
import { planInThread } from '../operate/plan-thread.js';
import { systemTimers } from '../store/timers.js';
import type { Store } from '../store/types.js';
import type { AgentApiSource } from './api-source.js';
import type { AgentConfig } from './config.js';
import type { Log } from './loop.js';

/**
 * Starts the API for callers elsewhere, if there is to be one. The agent's work goes on without it: what
 * keeps it from starting is told in the log.
 */
export async function startRemoteApi(
  { remoteApi: settings, cluster }: AgentConfig,
  source: AgentApiSource,
  store: Store,
  log: Log,
): Promise<RemoteApi | undefined> {
  if (settings === undefined) return undefined;
  try {
    const api = new RemoteApi({
      source,
      operations: new Operations({ cluster, store, readAndPlan: planInThread }),
      settings,
      timers: systemTimers(),
      unixMs: () => Date.now(),
      warn: (text) => log.warn({}, text),
    });
    const port = await api.start();
    log.info({ bind: settings.bind, port }, 'HTTPS API');
    return api;
  } catch (thrown) {
    log.error({ error: thrown }, messageOf(thrown));
    return undefined;
  }
}
