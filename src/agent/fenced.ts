import { within } from '../deadline.js';
import { messageOf, UnderstudyError } from '../errors.js';
import type { AttachSpec } from '../storage/types.js';
import type { RoleParts } from './role-parts.js';

/** Two log-ins and some twenty commands; a target that does not answer is asked anew by the next try. */
const reservationBudgetMs = 10_000;
/** Such a look may wait for nobody: the personality runs. */
const keepBudgetMs = 5_000;
/** What a target says that is away, or just coming. */
const away: ReadonlySet<string> = new Set([
  'US_STORAGE_UNREACHABLE',
  'US_STORAGE_TARGET_NOT_FOUND',
  'US_STORAGE_LOGIN',
  'US_STORAGE_TARGET_FULL',
]);

/** A mask that does not come is an outage of the target's side; then the takeover says so. */
const maskBudgetMs = 20_000;

type FenceParts = Pick<RoleParts, 'watch' | 'until' | 'host' | 'timers' | 'storage' | 'log'>;

const isReserved = ({ fence }: AttachSpec): boolean => fence === 'reservation';

/**
 * Keeps every earlier owner of these volumes out, each in the way that the file names. Before it returns
 * nothing of them may be read.
 *
 * @returns how, in words
 */
export async function fence(
  personality: string,
  epoch: number,
  specs: readonly AttachSpec[],
  parts: FenceParts,
  signal: AbortSignal,
): Promise<string> {
  const masked = specs.filter((spec) => !isReserved(spec));
  const done = await Promise.allSettled([
    untilFenced(personality, epoch, masked, parts, signal),
    ...specs.filter(isReserved).map(async (spec) => {
      const until = within(reservationBudgetMs, signal, parts.timers);
      const { key, preempted } = await parts.storage.fence(spec, until);
      const out = preempted.length === 0 ? 'nobody was registered' : `${preempted.join(', ')} out`;
      return `${spec.volume} is reserved by ${key}, ${out}`;
    }),
  ]);
  for (const one of done) if (one.status === 'rejected') throw one.reason;
  const said = done.flatMap((one) =>
    one.status === 'fulfilled' && one.value !== undefined ? [one.value] : [],
  );
  const mask = masked.length === 0 ? [] : ['the target lets in nobody else'];
  return [...mask, ...said].join('; ');
}

/**
 * Looks whether reservations still stand: a target that was restarted may have forgotten them. Then the data
 * path is ended, and taken anew like after a failure. Masks are looked after beside the target.
 */
export async function keepFence(
  specs: readonly AttachSpec[],
  parts: Pick<RoleParts, 'storage' | 'timers' | 'log'>,
  signal: AbortSignal,
): Promise<void> {
  const looks = specs.filter(isReserved).map((spec) => keepOne(spec, parts, signal));
  for (const look of await Promise.allSettled(looks)) {
    if (look.status === 'rejected') throw look.reason;
  }
}

async function keepOne(
  spec: AttachSpec,
  { storage, timers, log }: Pick<RoleParts, 'storage' | 'timers' | 'log'>,
  signal: AbortSignal,
): Promise<void> {
  const until = within(keepBudgetMs, signal, timers);
  try {
    await storage.fence(spec, until);
  } catch (thrown) {
    signal.throwIfAborted();
    // Not to be asked is not to be lost: the data path waits for the target, too.
    const unasked = thrown instanceof UnderstudyError ? away.has(thrown.code) : until.aborted;
    if (!unasked) throw thrown;
    log.warn({ volume: spec.volume }, `reservation not looked at: ${messageOf(thrown)}`);
  }
}

/**
 * Waits until the target says that it lets in this host alone, for this epoch.
 *
 * @throws {UnderstudyError} US_FENCE_TARGET
 */
export async function untilFenced(
  personality: string,
  epoch: number,
  specs: readonly Pick<AttachSpec, 'target'>[],
  { watch, until, host, timers }: Pick<RoleParts, 'watch' | 'until' | 'host' | 'timers'>,
  signal: AbortSignal,
): Promise<void> {
  const open = (target: string) => {
    const mask = watch.view.masks.get(target)?.value;
    return (
      mask !== undefined &&
      mask.error === undefined &&
      mask.personality === personality &&
      mask.host === host &&
      mask.epoch === epoch
    );
  };
  try {
    await until(
      () => specs.every(({ target }) => open(target)),
      within(maskBudgetMs, signal, timers),
    );
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    const missing = specs.filter(({ target }) => !open(target)).map(({ target }) => target);
    const said = missing.map((target) => watch.view.masks.get(target)?.value.error ?? 'no answer');
    throw new UnderstudyError({
      code: 'US_FENCE_TARGET',
      action: 'cannot fence the volumes of',
      object: `${personality}, epoch ${epoch}`,
      cause: `the target's mask did not change within ${maskBudgetMs} ms: ${missing.join(', ')} (${said.join('; ')})`,
      remedy: 'see that understudy target runs beside the iSCSI target and reaches the store',
    });
  }
}
