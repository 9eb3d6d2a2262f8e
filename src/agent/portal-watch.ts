import type { PersonalityReport, VolumeReport } from '../control/records.js';
import { repeat, type Timers } from '../store/timers.js';
import { type Log, Loop } from './loop.js';

const everyMs = 2_000;
/** One lost packet is none: two looks in a row, so some four seconds. */
const missesToTell = 2;

/** What is known of the portals of one volume. */
export interface PortalState {
  readonly misses: number;
  /** Why it stands still; undefined: it does not, or it is too early to say. */
  readonly trouble: string | undefined;
}

const unknown: PortalState = { misses: 0, trouble: undefined };

/** After one look. `failure` undefined: a portal answered. */
export function afterLook(state: PortalState, failure: string | undefined): PortalState {
  if (failure === undefined) return unknown;
  const misses = Math.min(missesToTell, state.misses + 1);
  return { misses, trouble: misses < missesToTell ? undefined : failure };
}

/**
 * Whether the disks that are in use here can be reached: a portal is asked for a TCP connection now and
 * then, beside everything that anybody waits for. A disk whose portals are away keeps its writes and goes on
 * when they are back, so its personality runs on; that it stands still is what this tells. Nothing is decided by it:
 * the next host may well reach them no better, and the target's mask is not to be changed by who happens to look.
 */
export class PortalWatch {
  readonly #parts: PortalParts;
  readonly #loop: Loop;
  readonly #end: () => void;
  #states: ReadonlyMap<string, PortalState> = new Map();

  constructor(parts: PortalParts) {
    this.#parts = parts;
    this.#loop = new Loop('portals', parts, (signal) => this.#look(signal));
    this.#end = repeat(parts.timers, everyMs, () => this.#loop.nudge());
  }

  /** A report that says of each volume why it stands still, if it does. */
  tell(report: PersonalityReport): PersonalityReport {
    const volumes = report.volumes.map((volume) => {
      const trouble = this.#states.get(volume.name)?.trouble;
      return trouble === undefined ? volume : { ...volume, trouble };
    });
    return { ...report, volumes };
  }

  async stop(): Promise<void> {
    this.#end();
    await this.#loop.stop();
  }

  async #look(signal: AbortSignal): Promise<void> {
    const running = this.#parts.personalities().filter(({ phase }) => phase === 'running');
    const inUse: readonly InUse[] = running.flatMap(({ name, volumes }) =>
      volumes.map((volume) => ({ personality: name, volume })),
    );
    const looked = await Promise.all(
      inUse.map(async (one) => [one, await this.#failure(one, signal)] as const),
    );
    if (signal.aborted) return;
    const before = this.#states;
    this.#states = new Map(
      looked.map(([{ volume }, failure]) => [
        volume.name,
        afterLook(before.get(volume.name) ?? unknown, failure),
      ]),
    );
    let changed = false;
    for (const [{ personality, volume }] of looked) {
      const was = before.get(volume.name)?.trouble;
      const is = this.#states.get(volume.name)?.trouble;
      if ((was === undefined) === (is === undefined)) continue;
      changed = true;
      this.#parts.onChange(personality, volume.name, is);
    }
    if (changed) this.#parts.onReport();
  }

  async #failure({ personality, volume }: InUse, signal: AbortSignal): Promise<string | undefined> {
    const portals = this.#parts.portalsOf(volume.name);
    if (portals.length === 0) return undefined;
    const unreachable = await this.#parts.failure(portals, signal);
    return unreachable ?? this.#parts.trouble(personality, volume.lun);
  }
}

interface InUse {
  readonly personality: string;
  readonly volume: VolumeReport;
}

export interface PortalParts {
  readonly timers: Timers;
  readonly log: Log;
  personalities(): readonly PersonalityReport[];
  /** By the file; none: the volume is no longer in it. */
  portalsOf(volume: string): readonly string[];
  /** Why none of them accepts a connection; undefined: one does. Bounded. */
  failure(portals: readonly string[], signal: AbortSignal): Promise<string | undefined>;
  /** Why nothing comes through to a volume whose portals answer; undefined: nothing is known against it. */
  trouble(personality: string, lun: number): string | undefined;
  onChange(personality: string, volume: string, trouble: string | undefined): void;
  onReport(): void;
}
