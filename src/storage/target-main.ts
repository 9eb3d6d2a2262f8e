import pino from 'pino';
import { z } from 'zod';
import { readSettings } from '../config/settings.js';
import { assignmentKey, configKey } from '../control/keys.js';
import { parseRoleId, ViewKeeper } from '../control/view.js';
import { messageOf } from '../errors.js';
import { bootMs } from '../ffi/clock.js';
import { favour } from '../ffi/scheduling.js';
import { serve } from '../serve.js';
import { EtcdStore } from '../store/etcd.js';
import { firstAnswer } from '../store/first-answer.js';
import { storeSettings } from '../store/settings.js';
import { repeat, systemTimers, type Timers } from '../store/timers.js';
import type { Store } from '../store/types.js';
import { LioMask } from './lio-mask.js';
import type { Log } from './log.js';
import { MaskKeeper, type VerifiableMask } from './mask-keeper.js';
import { maskOrders, sharedTargets } from './mask-orders.js';
import { TgtMask } from './tgt-mask.js';

const onlyTgt = 'only tgt has it: take it out, or write targets: tgt';

/** One storage host's own settings, /etc/understudy/target.yaml. */
export const targetSchema = z
  .strictObject({
    cluster: z.string(),
    store: storeSettings,
    /** What serves the LUNs: tgtd, or the kernel's own target (LIO). */
    targets: z.enum(['tgt', 'lio']).default('tgt'),
    /** `-C` of tgtd. */
    controlPort: z.number().int().min(0).max(65535).optional(),
    /** TGT_IPC_SOCKET of tgtd, where it is not the default. */
    ipcSocket: z.string().optional(),
    stateDirectory: z.string().default('/var/lib/understudy'),
    /** How often masks are looked at, for changes by others. */
    verifyEveryMs: z.number().int().min(100).default(2_000),
  })
  .superRefine((settings, context) => {
    for (const key of ['controlPort', 'ipcSocket'] as const) {
      if (settings.targets === 'tgt' || settings[key] === undefined) continue;
      context.addIssue({ code: 'custom', path: [key], message: onlyTgt });
    }
  });

export type TargetConfig = z.infer<typeof targetSchema>;

/** @throws {UnderstudyError} US_TARGET_CONFIG */
export function readTargetConfig(path: string): TargetConfig {
  return readSettings(path, targetSchema, 'US_TARGET_CONFIG');
}

/** The daemon `understudy target`, until the signal aborts. Masks stay as they are when it ends. */
export async function runTarget(options: {
  readonly configFile: string;
  readonly signal: AbortSignal;
}): Promise<void> {
  const config = readTargetConfig(options.configFile);
  const log = pino({ base: { daemon: 'target' } }, pino.destination({ dest: 2, sync: true }));
  try {
    favour(process.pid);
  } catch (thrown) {
    log.warn({}, `no priority over ordinary work (${messageOf(thrown)}); going on without`);
  }
  const store = new EtcdStore({
    ...config.store,
    prefix: `/understudy/${config.cluster}/`,
    identity: 'target',
    log,
  });
  const mask = maskOf(config);
  const timers = systemTimers(bootMs);
  await firstAnswer(store, { log, timers }, options.signal);
  try {
    const running = keepMasks(
      {
        store,
        mask,
        log,
        timers,
        nowMs: bootMs,
        verifyEveryMs: config.verifyEveryMs,
      },
      options.signal,
    );
    await serve(options.signal, { refused: (text) => log.warn({}, text) });
    await running;
  } finally {
    await store.stop();
  }
}

function maskOf({ targets, cluster, controlPort, ipcSocket, stateDirectory }: TargetConfig) {
  const ledgerFile = `${stateDirectory}/target-epochs.json`;
  if (targets === 'lio') return new LioMask({ cluster, ledgerFile });
  return new TgtMask({
    ledgerFile,
    controlPort: controlPort ?? 0,
    ...(ipcSocket === undefined ? {} : { ipcSocket }),
  });
}

export interface KeepMasksParts {
  readonly store: Pick<Store, 'watch' | 'transact'>;
  readonly mask: VerifiableMask;
  readonly log: Log;
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly verifyEveryMs: number;
}

/**
 * Follows configuration and assignments in the store and keeps the masks in step, until the signal
 * aborts. On start every mask is applied again, whatever was applied before.
 */
export async function keepMasks(parts: KeepMasksParts, signal: AbortSignal): Promise<void> {
  const { store, log } = parts;
  const keeper = new MaskKeeper(parts);
  const definition = new ViewKeeper();
  const placed = new ViewKeeper();
  let known = false;
  const update = () => {
    const config = definition.view.config?.value;
    // Not before both are known: no assignment would read as "let in nobody".
    if (config === undefined || !known) return;
    const assignments = new Map(
      [...placed.view.assignments].map(([id, { value }]) => [parseRoleId(id).name, value]),
    );
    for (const [target, owners] of sharedTargets(config.config)) {
      log.warn({ target }, `${target} is shared by ${owners.join(', ')}: its mask is left alone`);
    }
    const orders = maskOrders(config.config, assignments, config.generation);
    const named = new Set(config.config.personalities.map(({ name }) => name));
    const leaving = (personality: string) =>
      !named.has(personality) && (assignments.get(personality)?.host ?? null) !== null;
    keeper
      .order(orders, config.generation, leaving)
      .catch((thrown: unknown) => log.warn({}, messageOf(thrown)));
  };
  follow(store, configKey, definition, update, signal);
  follow(
    store,
    assignmentKey('personality', ''),
    placed,
    () => {
      known = true;
      update();
    },
    signal,
  );
  const endVerifying = repeat(parts.timers, parts.verifyEveryMs, () => void keeper.verify());
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  endVerifying();
  await keeper.stop();
}

/** Keeps the part of the store below a prefix in a view of its own. */
function follow(
  store: Pick<Store, 'watch'>,
  prefix: string,
  keeper: ViewKeeper,
  changed: () => void,
  signal: AbortSignal,
): void {
  store.watch(
    prefix,
    {
      snapshot: ({ entries, revision }) => {
        keeper.reset(entries, revision);
        changed();
      },
      changes: (changes) => {
        if (keeper.apply(changes)) changed();
      },
    },
    signal,
  );
}
