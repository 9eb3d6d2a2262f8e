import koffi from 'koffi';
import { taskLayout, toldByBytes } from './iscsi-task.js';

/** libiscsi (LGPL, Debian package libiscsi7): its declarations, and the way back from its callbacks. */
export type Pointer = bigint | null;

/** Declares libiscsi once, when it is first needed: a host without volumes needs no libiscsi. */
function bind() {
  const library = koffi.load('libiscsi.so.7');
  koffi.opaque('iscsi_context');
  const callback = koffi.proto(
    'void iscsi_command_cb(iscsi_context *c, int status, void *data, uintptr_t token)',
  );
  koffi.opaque('scsi_task');
  const targets = koffi.struct('iscsi_discovery_address', {
    next: 'void *',
    target_name: 'const char *',
    portals: 'void *',
  });
  const portals = koffi.struct('iscsi_target_portal', { next: 'void *', portal: 'const char *' });
  const outgoing = koffi.struct('iscsi_data', { size: 'size_t', data: 'void *' });
  const f = (declaration: string) => library.func(declaration);
  const createTask = f(
    'scsi_task *scsi_create_task(int cdbSize, void *cdb, int direction, int length)',
  );
  const freeTask = f('void scsi_free_scsi_task(scsi_task *task)');
  const setPrivate = f('void scsi_set_task_private_ptr(scsi_task *task, uintptr_t pointer)');
  return {
    task: ownLayout(createTask, setPrivate, freeTask),
    targets,
    portals,
    outgoing,
    create: f('iscsi_context *iscsi_create_context(const char *initiator)'),
    destroy: f('int iscsi_destroy_context(iscsi_context *c)'),
    setTarget: f('int iscsi_set_targetname(iscsi_context *c, const char *name)'),
    setSessionType: f('int iscsi_set_session_type(iscsi_context *c, int type)'),
    setUser: f(
      'int iscsi_set_initiator_username_pwd(iscsi_context *c, const char *user, const char *secret)',
    ),
    setTargetUser: f(
      'int iscsi_set_target_username_pwd(iscsi_context *c, const char *user, const char *secret)',
    ),
    setTimeout: f('int iscsi_set_timeout(iscsi_context *c, int seconds)'),
    setNoReconnect: f('void iscsi_set_noautoreconnect(iscsi_context *c, int state)'),
    fullConnect: f(
      'int iscsi_full_connect_async(iscsi_context *c, const char *portal, int lun, iscsi_command_cb *cb, uintptr_t token)',
    ),
    discover: f(
      'int iscsi_discovery_async(iscsi_context *c, iscsi_command_cb *cb, uintptr_t token)',
    ),
    logout: f('int iscsi_logout_async(iscsi_context *c, iscsi_command_cb *cb, uintptr_t token)'),
    createTask,
    freeTask,
    command: f(
      'int iscsi_scsi_command_async(iscsi_context *c, int lun, scsi_task *task, iscsi_command_cb *cb, void *data, uintptr_t token)',
    ),
    getFd: f('int iscsi_get_fd(iscsi_context *c)'),
    whichEvents: f('int iscsi_which_events(iscsi_context *c)'),
    service: f('int iscsi_service(iscsi_context *c, int events)'),
    errorText: f('const char *iscsi_get_error(iscsi_context *c)'),
    callback: koffi.register(onReply, koffi.pointer(callback)),
  };
}

type Call = (...words: readonly unknown[]) => unknown;

/** A number that is in no task by itself. */
const marker = 0x5eed1e550fda7an;

function ownLayout(create: Call, setPrivate: Call, free: Call): ReturnType<typeof taskLayout> {
  const task = create(6, Buffer.alloc(6), 0, 0) as Pointer;
  if (task === null) throw new Error('scsi_create_task failed');
  try {
    setPrivate(task, marker);
    const bytes = koffi.decode(task, koffi.array('uint8', toldByBytes)) as readonly number[];
    return taskLayout(Uint8Array.from(bytes), marker);
  } finally {
    free(task);
  }
}

let bound: ReturnType<typeof bind> | undefined;
/** @throws Error when libiscsi.so.7 cannot be loaded */
export function libiscsi(): ReturnType<typeof bind> {
  bound ??= bind();
  return bound;
}

/** Told of the answer to one call. */
export type OnReply = (status: number, data: Pointer) => void;

/** One native callback serves every context (koffi has a limited number): the token tells whose. */
const pending = new Map<number, OnReply>();
let nextToken = 1;

export function expectReply(onReply: OnReply): number {
  const token = nextToken++;
  pending.set(token, onReply);
  return token;
}

/** For a call that was refused: its callback never comes. */
export function expectNothing(token: number): void {
  pending.delete(token);
}

function onReply(_context: Pointer, status: number, data: Pointer, token: number | bigint): void {
  const reply = pending.get(Number(token));
  pending.delete(Number(token));
  reply?.(status, data);
}

export interface TargetNode {
  readonly next: Pointer;
  readonly target_name: string;
  readonly portals: Pointer;
}

export interface PortalNode {
  readonly next: Pointer;
  readonly portal: string;
}
