import { randomBytes } from 'node:crypto';
import { messageOf } from '../errors.js';
import type { StoreLog } from './log.js';
import type { OfficePatience } from './patience.js';
import { pause, type Timers } from './timers.js';
import type { CampaignListener } from './types.js';

/** The key whose existence means that somebody is in office; its value is the holder's name. */
export const officeKey = (office: string): string => `office/${office}`;

const afterRaceMs = 50;
const firstRetryMs = 100;
const longestRetryMs = 1_000;

export interface Renewal {
  /** When the request that succeeded was sent. */
  readonly sentMs: number;
  /** Time to live from then on; 0: the lease is gone. */
  readonly ttlMs: number;
}

/** What the key of an office held at a revision of the store. */
export interface Seat {
  readonly revision: number;
  /** Revision at which the holder took it; undefined: vacant. */
  readonly takenAt: number | undefined;
}

/** What a campaign needs of a store. Each call is bounded and may throw US_STORE_UNREACHABLE. */
export interface OfficePort {
  grant(lease: bigint, ttlSeconds: number): Promise<Renewal>;
  renew(lease: bigint, budgetMs: number): Promise<Renewal>;
  revoke(lease: bigint): Promise<void>;
  /** Creates the key under the lease unless it is there; its revision if it is now ours. */
  claim(key: string, value: string, lease: bigint): Promise<number | undefined>;
  watchSeat(key: string, tell: (seat: Seat) => void, signal: AbortSignal): void;
}

export interface CampaignParts {
  readonly port: OfficePort;
  readonly timers: Timers;
  /** Asked once for each candidacy, which keeps what it began with. */
  patience(): OfficePatience;
  readonly log: StoreLog;
  readonly office: string;
  readonly candidate: string;
  readonly listener: CampaignListener;
  /** 63 random bits: a candidacy's lease is named by us, so that a repeated grant is harmless. */
  readonly newLease?: () => bigint;
}

/** What a candidate that was elected serves under. */
interface Term {
  readonly lease: bigint;
  readonly granted: Renewal;
  /** Revision of the claim. */
  readonly takenAt: number;
  readonly patience: OfficePatience;
}

/**
 * One candidate's standing for one office: waits until it is vacant, takes it under a lease, renews
 * the lease, and steps down by its own clock before the store could hand the office on.
 */
export class Campaign {
  readonly #parts: CampaignParts;
  #seat: Seat | undefined;
  #seatChanged: () => void = () => {};

  constructor(parts: CampaignParts) {
    this.#parts = parts;
  }

  /** Returns when `signal` has aborted and the office, if held, was given back. */
  async run(signal: AbortSignal): Promise<void> {
    const { port, timers, log, office } = this.#parts;
    port.watchSeat(
      officeKey(office),
      (seat) => {
        this.#seat = seat;
        this.#seatChanged();
      },
      signal,
    );
    let failures = 0;
    while (!signal.aborted) {
      await this.#vacancy(signal);
      if (signal.aborted) return;
      try {
        await this.#stand(signal);
        failures = 0;
        // Somebody was quicker and the watch has not said so yet, or the office was just lost.
        await pause(timers, afterRaceMs, signal);
      } catch (thrown) {
        log.warn({ office, error: thrown }, `campaign for ${office}: ${messageOf(thrown)}`);
        await pause(timers, Math.min(longestRetryMs, firstRetryMs * 2 ** failures++), signal);
      }
    }
  }

  #vacancy(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        const vacant = this.#seat !== undefined && this.#seat.takenAt === undefined;
        if (!vacant && !signal.aborted) return;
        this.#seatChanged = () => {};
        signal.removeEventListener('abort', look);
        resolve();
      };
      this.#seatChanged = look;
      signal.addEventListener('abort', look);
      look();
    });
  }

  async #stand(signal: AbortSignal): Promise<void> {
    const { port, office, candidate, newLease = randomLease } = this.#parts;
    const lease = newLease();
    const patience = this.#parts.patience();
    try {
      const granted = await port.grant(lease, patience.ttlSeconds);
      const takenAt = await port.claim(officeKey(office), candidate, lease);
      if (takenAt !== undefined) await this.#serve({ lease, granted, takenAt, patience }, signal);
    } finally {
      // Also after an error: the claim may have been carried out. If this fails too, it expires.
      await port.revoke(lease).catch(() => {});
    }
  }

  /** In office until the promise resolves; `lost` has been called then. */
  #serve({ lease, granted, takenAt, patience }: Term, signal: AbortSignal): Promise<void> {
    const { timers, listener, office } = this.#parts;
    const { ttlSeconds, marginMs, renewEveryMs } = patience;
    return new Promise((resolve) => {
      let deadlineMs = granted.sentMs + granted.ttlMs - marginMs;
      if (signal.aborted || timers.nowMs() >= deadlineMs) return resolve();
      let inOffice = true;
      let cancelDeadline: () => void = () => {};
      let cancelRenewal: () => void = () => {};
      const leave = (reason: string) => {
        if (!inOffice) return;
        inOffice = false;
        cancelDeadline();
        cancelRenewal();
        this.#seatChanged = () => {};
        signal.removeEventListener('abort', standDown);
        listener.lost(reason);
        resolve();
      };
      const standDown = () => leave('stood down');
      const outOfTime = () => leave(`the lease could not be renewed for ${ttlSeconds} s`);
      const watchDeadline = () => {
        cancelDeadline();
        const leftMs = deadlineMs - timers.nowMs();
        if (leftMs <= 0) outOfTime();
        else cancelDeadline = timers.after(leftMs, watchDeadline);
      };
      const renew = async () => {
        const leftMs = deadlineMs - timers.nowMs();
        if (leftMs <= 0) return outOfTime();
        try {
          const { sentMs, ttlMs } = await this.#parts.port.renew(lease, leftMs);
          if (!inOffice) return;
          if (ttlMs === 0) return leave('the store ended the lease');
          deadlineMs = Math.max(deadlineMs, sentMs + ttlMs - marginMs);
          watchDeadline();
        } catch (thrown) {
          this.#parts.log.warn({ office, error: thrown }, `renewing: ${messageOf(thrown)}`);
        }
        if (inOffice) cancelRenewal = timers.after(renewEveryMs, renew);
      };
      this.#seatChanged = () => {
        // The watch may still be telling of the time before.
        const seat = this.#seat;
        if (seat === undefined || seat.revision <= takenAt || seat.takenAt === takenAt) return;
        leave('the office was taken away in the store');
      };
      signal.addEventListener('abort', standDown);
      watchDeadline();
      cancelRenewal = timers.after(renewEveryMs, renew);
      listener.elected({ kind: 'revision', key: officeKey(office), modRevision: takenAt });
      this.#seatChanged();
    });
  }
}

function randomLease(): bigint {
  // etcd takes the id as a signed 64-bit number; 0 would let it choose one itself.
  return randomBytes(8).readBigUInt64BE() >> 1n || 1n;
}
