import type { ScsiCommand } from '../ffi/iscsi.js';

/** The few SCSI commands this program sends, and how their answers read (SPC-4, SBC-3). Pure. */

type Transfer = ScsiCommand['transfer'];
type Built = Pick<ScsiCommand, 'cdb' | 'transfer'>;

const read = (lengthBytes: number): Transfer => ({ direction: 'read', lengthBytes });

/** SPC-4 4.5.6: sense keys used here. */
export const senseKeys = { notReady: 2, illegalRequest: 5, unitAttention: 6 } as const;
/** SPC-4 annex D: LOGICAL UNIT NOT SUPPORTED. */
export const lunNotSupported = 0x2500;
/** SPC-4 annex D: SPACE ALLOCATION FAILED WRITE PROTECT; a thin LUN whose pool is full (SBC-3 4.7.3.6). */
export const noSpace = 0x2707;

export function testUnitReady(): Built {
  return { cdb: new Uint8Array(6), transfer: { direction: 'none' } };
}

/** INQUIRY, standard or (with `page`) of vital product data. */
export function inquiry(page?: number): Built {
  const lengthBytes = 255;
  const cdb = Buffer.alloc(6);
  cdb[0] = 0x12;
  cdb[1] = page === undefined ? 0 : 1;
  cdb[2] = page ?? 0;
  cdb.writeUInt16BE(lengthBytes, 3);
  return { cdb, transfer: read(lengthBytes) };
}

export interface Inquiry {
  /** 0 means a device is there; 3 means this LUN is not supported. */
  readonly qualifier: number;
  /** 0 is a disk, 12 an array controller. */
  readonly deviceType: number;
  readonly vendor: string;
  readonly product: string;
  readonly revision: string;
}

export function parseInquiry(data: Buffer): Inquiry {
  const text = (from: number, to: number) => data.toString('latin1', from, to).trim();
  const first = data[0] ?? 0x7f;
  return {
    qualifier: first >> 5,
    deviceType: first & 0x1f,
    vendor: text(8, 16),
    product: text(16, 32),
    revision: text(32, 36),
  };
}

/** Unit serial number, VPD page 0x80 (SPC-4 7.8.15); '' when the page holds none. */
export function parseSerial(data: Buffer): string {
  if (data[1] !== 0x80 || data.length < 4) return '';
  return data
    .toString('latin1', 4, 4 + data.readUInt16BE(2))
    .replaceAll('\0', '')
    .trim();
}

/** One designator of VPD page 0x83, of the logical unit itself. */
export interface Designator {
  readonly type: 'vendor' | 'eui' | 'naa' | 'name' | 'other';
  /** Text, or hex digits for binary ones. */
  readonly value: string;
}

const designatorTypes = { 1: 'vendor', 2: 'eui', 3: 'naa', 8: 'name' } as const;

/** Device identification, VPD page 0x83 (SPC-4 7.8.6). Those of ports are left out. */
export function parseDesignators(data: Buffer): readonly Designator[] {
  const found: Designator[] = [];
  if (data[1] !== 0x83 || data.length < 4) return found;
  const end = Math.min(data.length, 4 + data.readUInt16BE(2));
  for (let at = 4; at + 4 <= end; ) {
    const codeSet = (data[at] ?? 0) & 0xf;
    const association = ((data[at + 1] ?? 0) >> 4) & 3;
    const type = (data[at + 1] ?? 0) & 0xf;
    const length = data[at + 3] ?? 0;
    const value = data.subarray(at + 4, Math.min(end, at + 4 + length));
    if (association === 0) {
      found.push({
        type: designatorTypes[type as keyof typeof designatorTypes] ?? 'other',
        value:
          codeSet === 1
            ? value.toString('hex')
            : value.toString('utf8').replaceAll('\0', '').trim(),
      });
    }
    at += 4 + length;
  }
  return found;
}

/** READ CAPACITY (16). */
export function readCapacity(): Built {
  const cdb = Buffer.alloc(16);
  cdb[0] = 0x9e;
  cdb[1] = 0x10;
  cdb.writeUInt32BE(32, 10);
  return { cdb, transfer: read(32) };
}

export interface Capacity {
  readonly blocks: bigint;
  readonly blockSizeBytes: number;
}

export function parseCapacity(data: Buffer): Capacity | undefined {
  if (data.length < 12) return undefined;
  return { blocks: data.readBigUInt64BE(0) + 1n, blockSizeBytes: data.readUInt32BE(8) };
}

/** REPORT LUNS, of all LUNs this initiator may address. */
export function reportLuns(): Built {
  const lengthBytes = 8 + 8 * 512;
  const cdb = Buffer.alloc(12);
  cdb[0] = 0xa0;
  cdb.writeUInt32BE(lengthBytes, 6);
  return { cdb, transfer: read(lengthBytes) };
}

/** Single-level LUNs, peripheral and flat addressing (SAM-5 4.7). */
export function parseLuns(data: Buffer): readonly number[] {
  if (data.length < 8) return [];
  const end = Math.min(data.length, 8 + data.readUInt32BE(0));
  const luns: number[] = [];
  for (let at = 8; at + 8 <= end; at += 8) luns.push(data.readUInt16BE(at) & 0x3fff);
  return luns;
}

/** READ (16). */
export function readBlocks(lba: bigint, count: number, blockSizeBytes: number): Built {
  const cdb = Buffer.alloc(16);
  cdb[0] = 0x88;
  cdb.writeBigUInt64BE(lba, 2);
  cdb.writeUInt32BE(count, 10);
  return { cdb, transfer: read(count * blockSizeBytes) };
}

/** WRITE (16). The data must be whole blocks. */
export function writeBlocks(lba: bigint, data: Uint8Array, blockSizeBytes: number): Built {
  const cdb = Buffer.alloc(16);
  cdb[0] = 0x8a;
  cdb.writeBigUInt64BE(lba, 2);
  cdb.writeUInt32BE(data.length / blockSizeBytes, 10);
  return { cdb, transfer: { direction: 'write', data } };
}

/** Type of a persistent reservation (SPC-4 6.15.3.4): 6 refuses others' reads too, 5 only their writes. */
export type ReservationType = 1 | 3 | 5 | 6 | 7 | 8;

const persistentOutActions = {
  register: 0,
  reserve: 1,
  release: 2,
  clear: 3,
  preempt: 4,
  'preempt-and-abort': 5,
  'register-and-ignore': 6,
} as const;

export interface PersistentReservation {
  readonly action: keyof typeof persistentOutActions;
  readonly type: ReservationType;
  /** The key this initiator is registered with; 0n before it registers. */
  readonly key: bigint;
  /** Register: the new key. Preempt: the key to throw out. */
  readonly serviceActionKey: bigint;
  /** Register: every session of this initiator name as well (SPEC_I_PT). */
  readonly registersToo?: string;
  /** Register: the target keeps all registrations and the reservation through a loss of power (APTPL). */
  readonly persists?: boolean;
}

const iscsiProtocol = 5;
const specifyInitiatorPorts = 8;
const activatePersistence = 1;

/** A whole iSCSI device: format 00b, no ISID (SPC-4 7.6.4.6). The name ends with NUL, in words of four. */
function transportId(initiator: string): Buffer {
  const lengthBytes = Math.max(20, Math.ceil((Buffer.byteLength(initiator) + 1) / 4) * 4);
  const id = Buffer.alloc(4 + lengthBytes);
  id[0] = iscsiProtocol;
  id.writeUInt16BE(lengthBytes, 2);
  id.write(initiator, 4, 'latin1');
  return id;
}

/** PERSISTENT RESERVE OUT. */
export function persistentReserve(reservation: PersistentReservation): Built {
  const cdb = Buffer.alloc(10);
  cdb[0] = 0x5f;
  cdb[1] = persistentOutActions[reservation.action];
  cdb[2] = reservation.type;
  const { registersToo } = reservation;
  const id = registersToo === undefined ? Buffer.alloc(0) : transportId(registersToo);
  const data = Buffer.alloc(id.length === 0 ? 24 : 28);
  data.writeBigUInt64BE(reservation.key, 0);
  data.writeBigUInt64BE(reservation.serviceActionKey, 8);
  data[20] = reservation.persists === true ? activatePersistence : 0;
  if (id.length > 0) {
    data[20] |= specifyInitiatorPorts;
    data.writeUInt32BE(id.length, 24);
  }
  cdb.writeUInt32BE(data.length + id.length, 5);
  return { cdb, transfer: { direction: 'write', data: Buffer.concat([data, id]) } };
}

const persistentInActions = { keys: 0, holder: 1, capabilities: 2, status: 3 } as const;

/** PERSISTENT RESERVE IN: the registered keys, who holds it, what the target can, all that is known of each. */
export function readReservation(what: keyof typeof persistentInActions): Built {
  // Of the status there are a hundred bytes for each.
  const lengthBytes = 8 + (what === 'status' ? 128 : 8) * 128;
  const cdb = Buffer.alloc(10);
  cdb[0] = 0x5e;
  cdb[1] = persistentInActions[what];
  cdb.writeUInt16BE(lengthBytes, 7);
  return { cdb, transfer: read(lengthBytes) };
}

/** PTPL_C of REPORT CAPABILITIES (SPC-4 6.15.4): whether reservations may outlive a loss of power. */
export function parseMayPersist(data: Buffer): boolean {
  return data.length >= 3 && ((data[2] ?? 0) & 1) === 1;
}

export function parseKeys(data: Buffer): { generation: number; keys: readonly bigint[] } {
  if (data.length < 8) return { generation: 0, keys: [] };
  const end = Math.min(data.length, 8 + data.readUInt32BE(4));
  const keys: bigint[] = [];
  for (let at = 8; at + 8 <= end; at += 8) keys.push(data.readBigUInt64BE(at));
  return { generation: data.readUInt32BE(0), keys };
}

/** One registered nexus, or all nexuses of one name. */
export interface Registrant {
  readonly key: bigint;
  readonly initiator: string;
  /** The only session that is meant; undefined: every session of that name. */
  readonly isid: string | undefined;
}

/** READ FULL STATUS (SPC-4 6.15.5), of iSCSI initiators. */
export function parseRegistrants(data: Buffer): readonly Registrant[] {
  const found: Registrant[] = [];
  if (data.length < 8) return found;
  const end = Math.min(data.length, 8 + data.readUInt32BE(4));
  for (let at = 8; at + 24 <= end; ) {
    const length = data.readUInt32BE(at + 20);
    const id = data.subarray(at + 24, Math.min(end, at + 24 + length));
    // SPC-4 7.6.4.6: format 00b is a name, 01b a name and an ISID.
    if (id.length > 4 && ((id[0] ?? 0) & 0xf) === iscsiProtocol) {
      const [text = ''] = id.toString('latin1', 4).split('\0');
      const [initiator = '', isid] = text.split(',i,0x');
      found.push({ key: data.readBigUInt64BE(at), initiator, isid });
    }
    at += 24 + length;
  }
  return found;
}

/** Undefined when nobody holds it. */
export function parseHolder(data: Buffer): { key: bigint; type: number } | undefined {
  if (data.length < 22 || data.readUInt32BE(4) === 0) return undefined;
  return { key: data.readBigUInt64BE(8), type: (data[21] ?? 0) & 0xf };
}
