import { within } from '../deadline.js';
import { UnderstudyError } from '../errors.js';
import type { AttachSpec } from '../storage/types.js';
import type { RoleParts } from './role-parts.js';

/** A mask that does not come is an outage of the target's side; then the takeover says so. */
const maskBudgetMs = 20_000;

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
