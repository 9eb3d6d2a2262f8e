import { open } from 'node:fs/promises';
import { UnderstudyError } from '../errors.js';
import type { Outcome } from '../ffi/off-thread.js';
import { clear, preempt, registerAndIgnore, reserve } from '../ffi/persistent-reservation.js';
import type { IscsiSession } from './iscsi-session.js';
import type { ReservationSession } from './reservation.js';
import type { PersistentReservation, ReservationType } from './scsi.js';

/** `enum pr_type` (linux/pr.h) of SCSI's types. */
const kernelTypes: Readonly<Record<ReservationType, number>> = {
  1: 1,
  3: 2,
  5: 3,
  6: 4,
  7: 5,
  8: 6,
};
const conflict = 0x18;
const checkCondition = 2;
/** A target queues one UNIT ATTENTION for each thing that happened; which sense it was the kernel keeps. */
const tries = 4;

/**
 * Reservations of a disk of the kernel: orders go by its own session, which is the data path, so what is
 * registered is the very nexus that writes. What stands is read by a session beside it: the kernel has no
 * call for that before Linux 6.19, and a target answers everybody.
 */
export class KernelReservations implements ReservationSession {
  readonly target: string;
  readonly #device: string;
  readonly #looks: IscsiSession;

  constructor(device: string, looks: IscsiSession) {
    this.target = looks.target;
    this.#device = device;
    this.#looks = looks;
  }

  reservationsMayPersist(...args: Parameters<IscsiSession['reservationsMayPersist']>) {
    return this.#looks.reservationsMayPersist(...args);
  }

  reservationKeys(...args: Parameters<IscsiSession['reservationKeys']>) {
    return this.#looks.reservationKeys(...args);
  }

  reservationHolder(...args: Parameters<IscsiSession['reservationHolder']>) {
    return this.#looks.reservationHolder(...args);
  }

  registrants(...args: Parameters<IscsiSession['registrants']>) {
    return this.#looks.registrants(...args);
  }

  /** @throws {UnderstudyError} US_STORAGE_RESERVED, US_STORAGE_COMMAND */
  async persistentReserve(
    lun: number,
    order: PersistentReservation,
    signal?: AbortSignal,
  ): Promise<void> {
    const device = await open(this.#device, 'r');
    try {
      let outcome = await send(device.fd, order);
      for (let turn = 1; turn < tries && outcome.result === checkCondition; turn += 1) {
        signal?.throwIfAborted();
        outcome = await send(device.fd, order);
      }
      if (outcome.result !== 0) throw this.#failure(lun, order, outcome);
    } finally {
      await device.close();
    }
  }

  #failure(lun: number, { action }: PersistentReservation, outcome: Outcome): UnderstudyError {
    const object = `LUN ${lun} of ${this.target} (${this.#device})`;
    if (outcome.result === conflict) {
      return new UnderstudyError({
        code: 'US_STORAGE_RESERVED',
        action: `was refused persistent reserve out, ${action} on`,
        object,
        cause: 'reservation conflict: another initiator holds a SCSI-3 persistent reservation',
        remedy:
          'see who holds it (understudy reservation show); only the newest epoch may preempt it',
      });
    }
    const cause =
      outcome.result < 0 ? `errno ${outcome.errno}` : `status 0x${outcome.result.toString(16)}`;
    return new UnderstudyError({
      code: 'US_STORAGE_COMMAND',
      action: `failed persistent reserve out, ${action} on`,
      object,
      cause,
      remedy: 'look up the sense code in the kernel log (dmesg) and in the log of the target',
    });
  }
}

function send(fd: number, order: PersistentReservation): Promise<Outcome> {
  const { action, key, serviceActionKey: other } = order;
  const type = kernelTypes[order.type];
  switch (action) {
    case 'register-and-ignore':
      return registerAndIgnore(fd, other);
    case 'reserve':
      return reserve(fd, key, type);
    case 'preempt':
    case 'preempt-and-abort':
      return preempt(fd, { key, other, type, aborting: action === 'preempt-and-abort' });
    case 'clear':
      return clear(fd, key);
    default:
      throw new Error(`${action} is not needed`);
  }
}
