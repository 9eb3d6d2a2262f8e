import { messageOf, UnderstudyError } from '../errors.js';
import {
  type Budget,
  type DiscoveredTarget,
  IscsiContext,
  IscsiError,
  type ScsiCommand,
  type ScsiReply,
  scsiStatus,
} from '../ffi/iscsi.js';
import type { ChapCredentials } from './chap.js';
import { loginFailure, lunNotFound, targetFull } from './iscsi-failures.js';
import { assertNumericPortal } from './portal.js';
import * as scsi from './scsi.js';

/** How long one login, and one command, may take. */
export interface SessionLimits {
  readonly loginMs: number;
  readonly commandMs: number;
}

export const defaultLimits: SessionLimits = { loginMs: 2_000, commandMs: 5_000 };

/**
 * A target queues one UNIT ATTENTION for each thing that happened (SAM-5 5.14): power on, then
 * reservations changed, then inquiry data changed. Each takes one repeat; more means something else.
 */
const maxUnitAttentions = 3;
/** READ of more than this is split: tgt's default MaxBurstLength is 256 KiB. */
const maxReadBytes = 256 * 1024;

/** A logged-in iSCSI session to one target, for questions; the data path has one of its own. */
export class IscsiSession {
  readonly portal: string;
  readonly target: string;
  readonly #context: IscsiContext;
  readonly #limits: SessionLimits;

  private constructor(
    context: IscsiContext,
    portal: string,
    target: string,
    limits: SessionLimits,
  ) {
    this.#context = context;
    this.portal = portal;
    this.target = target;
    this.#limits = limits;
  }

  /**
   * Names of the targets a portal offers to this initiator.
   *
   * Equals: `iscsiadm -m discovery -t sendtargets -p PORTAL`
   *
   * @throws {UnderstudyError} US_STORAGE_UNREACHABLE, US_STORAGE_LOGIN, US_STORAGE_PORTAL
   */
  static async discover(
    portal: string,
    initiator: string,
    signal?: AbortSignal,
    limits = defaultLimits,
  ): Promise<readonly DiscoveredTarget[]> {
    const context = newContext(initiator, portal);
    const budget = budgetOf(limits.loginMs, signal);
    try {
      await context.login(portal, undefined, budget);
      const targets = await context.discover(budget);
      await context.logout(budgetOf(limits.commandMs, signal)).catch(() => {});
      return targets;
    } catch (thrown) {
      throw loginFailure(thrown, [portal], 'any target', initiator, limits.loginMs);
    } finally {
      context.destroy();
    }
  }

  /**
   * Logs in to the first portal that answers. A portal that answers "no" ends the search: it
   * speaks for the target.
   *
   * Equals: `iscsiadm -m node -T TARGET -p PORTAL --login`
   *
   * @throws {UnderstudyError} US_STORAGE_UNREACHABLE, US_STORAGE_TARGET_NOT_FOUND, US_STORAGE_CHAP,
   * US_STORAGE_TARGET_FULL, US_STORAGE_LOGIN, US_STORAGE_PORTAL
   */
  static async login(
    portals: readonly string[],
    target: string,
    initiator: string,
    signal?: AbortSignal,
    limits = defaultLimits,
    chap?: ChapCredentials,
  ): Promise<IscsiSession> {
    let last: unknown = new Error('the volume has no portal');
    for (const portal of portals) {
      const context = newContext(initiator, portal);
      try {
        if (chap !== undefined) context.authenticate(chap, chap.mutual);
        await context.login(portal, target, budgetOf(limits.loginMs, signal));
        return new IscsiSession(context, portal, target, limits);
      } catch (thrown) {
        context.destroy();
        last = thrown;
        if (signal?.aborted || (thrown instanceof IscsiError && thrown.kind === 'refused')) break;
      }
    }
    signal?.throwIfAborted();
    throw loginFailure(last, portals, target, initiator, limits.loginMs, chap);
  }

  async testUnitReady(lun: number, signal?: AbortSignal): Promise<void> {
    await this.#good('test unit ready', lun, scsi.testUnitReady(), signal);
  }

  async inquiry(lun: number, signal?: AbortSignal): Promise<scsi.Inquiry> {
    return scsi.parseInquiry(await this.#good('inquiry', lun, scsi.inquiry(), signal));
  }

  /** VPD page 0x80; '' on a device without one. */
  async serial(lun: number, signal?: AbortSignal): Promise<string> {
    return scsi.parseSerial(await this.#page(lun, 0x80, signal));
  }

  /** VPD page 0x83; empty on a device without one. */
  async designators(lun: number, signal?: AbortSignal): Promise<readonly scsi.Designator[]> {
    return scsi.parseDesignators(await this.#page(lun, 0x83, signal));
  }

  async capacity(lun: number, signal?: AbortSignal): Promise<scsi.Capacity> {
    const data = await this.#good('read capacity', lun, scsi.readCapacity(), signal);
    const capacity = scsi.parseCapacity(data);
    if (capacity === undefined || capacity.blockSizeBytes < 512) {
      throw this.#failure('read capacity', lun, `answered ${data.length} bytes that make no sense`);
    }
    return capacity;
  }

  /** Every LUN of this target that this initiator may address. */
  async luns(signal?: AbortSignal): Promise<readonly number[]> {
    // LUN 0 answers REPORT LUNS also where it is no disk (SPC-4 6.33).
    return scsi.parseLuns(await this.#good('report luns', 0, scsi.reportLuns(), signal));
  }

  /** Bytes from block `lba` on, past all caches of this host. */
  async read(
    lun: number,
    lba: bigint,
    lengthBytes: number,
    blockSizeBytes: number,
    signal?: AbortSignal,
  ): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let done = 0; done < lengthBytes; ) {
      const piece = Math.min(maxReadBytes, lengthBytes - done);
      const at = lba + BigInt(done / blockSizeBytes);
      const command = scsi.readBlocks(at, piece / blockSizeBytes, blockSizeBytes);
      const data = await this.#good('read', lun, command, signal);
      if (data.length !== piece) {
        throw this.#failure('read', lun, `${data.length} of ${piece} bytes at block ${at}`);
      }
      pieces.push(data);
      done += piece;
    }
    return Buffer.concat(pieces);
  }

  async write(
    lun: number,
    lba: bigint,
    data: Uint8Array,
    blockSizeBytes: number,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#good('write', lun, scsi.writeBlocks(lba, data, blockSizeBytes), signal);
  }

  /**
   * PERSISTENT RESERVE OUT. Equals: `sg_persist --out …`
   *
   * @throws {UnderstudyError} US_STORAGE_RESERVED when another holds the LUN, US_STORAGE_COMMAND
   */
  async persistentReserve(
    lun: number,
    reservation: scsi.PersistentReservation,
    signal?: AbortSignal,
  ): Promise<void> {
    const what = `persistent reserve out, ${reservation.action}`;
    await this.#good(what, lun, scsi.persistentReserve(reservation), signal);
  }

  /** Whether reservations can be made to outlive the target's loss of power. */
  async reservationsMayPersist(lun: number, signal?: AbortSignal): Promise<boolean> {
    const what = 'report capabilities';
    const reply = await this.#send(what, lun, scsi.readReservation('capabilities'), signal);
    if (reply.senseKey === scsi.senseKeys.illegalRequest) return false;
    return scsi.parseMayPersist(this.#checked(what, lun, reply));
  }

  async reservationKeys(
    lun: number,
    signal?: AbortSignal,
  ): Promise<{ generation: number; keys: readonly bigint[] }> {
    const data = await this.#good('read keys', lun, scsi.readReservation('keys'), signal);
    return scsi.parseKeys(data);
  }

  /** Who is registered; undefined on a target that does not tell (READ FULL STATUS). */
  async registrants(
    lun: number,
    signal?: AbortSignal,
  ): Promise<readonly scsi.Registrant[] | undefined> {
    const what = 'read full status';
    const reply = await this.#send(what, lun, scsi.readReservation('status'), signal);
    if (reply.senseKey === scsi.senseKeys.illegalRequest) return undefined;
    return scsi.parseRegistrants(this.#checked(what, lun, reply));
  }

  /** Undefined for nobody, and of a target that has no reservations. */
  async reservationHolder(
    lun: number,
    signal?: AbortSignal,
  ): Promise<{ key: bigint; type: number } | undefined> {
    const what = 'read reservation';
    const reply = await this.#send(what, lun, scsi.readReservation('holder'), signal);
    if (reply.senseKey === scsi.senseKeys.illegalRequest) return undefined;
    return scsi.parseHolder(this.#checked(what, lun, reply));
  }

  /** Logs out if the target still answers, then closes. Never fails. */
  async close(): Promise<void> {
    await this.#context.logout(budgetOf(Math.min(500, this.#limits.commandMs))).catch(() => {});
    this.#context.destroy();
  }

  async #page(lun: number, page: number, signal: AbortSignal | undefined): Promise<Buffer> {
    const reply = await this.#send('inquiry', lun, scsi.inquiry(page), signal);
    // SPC-4 6.6: a device without the page answers CHECK CONDITION, ILLEGAL REQUEST.
    if (reply.senseKey === scsi.senseKeys.illegalRequest) return Buffer.alloc(0);
    return this.#checked('inquiry', lun, reply);
  }

  async #good(
    what: string,
    lun: number,
    command: Pick<ScsiCommand, 'cdb' | 'transfer'>,
    signal: AbortSignal | undefined,
  ): Promise<Buffer> {
    return this.#checked(what, lun, await this.#send(what, lun, command, signal));
  }

  /** Sends it, again for each UNIT ATTENTION that was queued. */
  async #send(
    what: string,
    lun: number,
    command: Pick<ScsiCommand, 'cdb' | 'transfer'>,
    signal: AbortSignal | undefined,
  ): Promise<ScsiReply> {
    const budget = budgetOf(this.#limits.commandMs, signal);
    try {
      let reply = await this.#context.command({ lun, ...command }, budget);
      for (let tries = 0; tries < maxUnitAttentions; tries += 1) {
        if (reply.senseKey !== scsi.senseKeys.unitAttention) break;
        reply = await this.#context.command({ lun, ...command }, budget);
      }
      return reply;
    } catch (thrown) {
      signal?.throwIfAborted();
      throw new UnderstudyError(
        {
          code: 'US_STORAGE_UNREACHABLE',
          action: `no answer to ${what} from`,
          object: `LUN ${lun} of ${this.target}`,
          cause: `${this.portal}: ${messageOf(thrown)}`,
          remedy: 'check the target daemon and the storage network',
        },
        { cause: thrown },
      );
    }
  }

  #checked(what: string, lun: number, reply: ScsiReply): Buffer {
    if (reply.status === scsiStatus.good) return reply.data;
    if (reply.status === scsiStatus.reservationConflict) {
      throw new UnderstudyError({
        code: 'US_STORAGE_RESERVED',
        action: `was refused ${what} on`,
        object: `LUN ${lun} of ${this.target}`,
        cause: 'reservation conflict: another initiator holds a SCSI-3 persistent reservation',
        remedy:
          'see who holds it (understudy reservation show); only the newest epoch may preempt it',
      });
    }
    if (reply.ascq === scsi.noSpace)
      throw targetFull(this.target, `LUN ${lun}: it has no space left`);
    if (reply.senseKey === scsi.senseKeys.illegalRequest && reply.ascq === scsi.lunNotSupported) {
      throw lunNotFound(this.target, lun, this.portal, undefined);
    }
    const sense = `sense key ${reply.senseKey}, ASC/ASCQ 0x${reply.ascq.toString(16).padStart(4, '0')}`;
    throw this.#failure(what, lun, `status 0x${reply.status.toString(16)}, ${sense}`);
  }

  #failure(what: string, lun: number, cause: string): UnderstudyError {
    return new UnderstudyError({
      code: 'US_STORAGE_COMMAND',
      action: `failed ${what} on`,
      object: `LUN ${lun} of ${this.target}`,
      cause: `${this.portal}: ${cause}`,
      remedy: 'look up the sense code in the log of the target',
    });
  }
}

function budgetOf(timeoutMs: number, signal?: AbortSignal): Budget {
  return signal === undefined ? { timeoutMs } : { timeoutMs, signal };
}

/** Loads the library, which takes milliseconds the first time. Nothing is connected. */
export function loadIscsi(): void {
  newContext('iqn.2026-11.io.understudy:load', '127.0.0.1:3260').destroy();
}

function newContext(initiator: string, portal: string): IscsiContext {
  assertNumericPortal(portal);
  try {
    return new IscsiContext(initiator);
  } catch (thrown) {
    throw new UnderstudyError(
      {
        code: 'US_STORAGE_LIBRARY',
        action: 'cannot use',
        object: 'libiscsi.so.7',
        cause: messageOf(thrown),
        remedy: 'install the package libiscsi7',
      },
      { cause: thrown },
    );
  }
}
