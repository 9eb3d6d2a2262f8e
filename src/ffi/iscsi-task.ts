import koffi from 'koffi';

/** What is read of a libiscsi task (iscsi/scsi-lowlevel.h, struct scsi_task). */
export interface DecodedTask {
  readonly sense_key: number;
  readonly ascq: number;
  readonly datain_size: number;
  readonly datain: bigint | null;
}

const untilSense = {
  status: 'int',
  cdb_size: 'int',
  xfer_dir: 'int',
  expxferlen: 'int',
  cdb: koffi.array('uint8', 16),
  residual_status: 'int',
  residual: 'size_t',
  error_type: 'uint8',
  sense_key: 'int',
  ascq: 'int',
  sense_specific: 'uint32',
};
const afterSense = { datain_size: 'int', datain: 'void *', memory: 'void *', private: 'void *' };

/** Until libiscsi 1.19 (Debian 12), and from 1.20 on (Debian 13), whose sense data has a field more. */
const layouts = [
  koffi.struct({ ...untilSense, ...afterSense }),
  koffi.struct({ ...untilSense, information: 'uint64', ...afterSense }),
];

/** As much of a task as tells its form; no libiscsi's tasks are shorter. */
export const toldByBytes = 104;

/**
 * The form of the tasks of the libiscsi that is loaded. Both call themselves libiscsi.so.7, so it is told by
 * what the library writes: `written` is what scsi_set_task_private_ptr() put into this task.
 *
 * @throws Error for any other: to read what a disk answered from a wrong place would be to make it up
 */
export function taskLayout(task: Uint8Array, written: bigint): (typeof layouts)[number] {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(written);
  const at = Buffer.from(task).indexOf(bytes);
  const found = layouts.find((layout) => koffi.offsetof(layout, 'private') === at);
  if (found !== undefined) return found;
  throw new Error(
    `libiscsi.so.7 is of an unknown version: a task has its private pointer at ${at}`,
  );
}
