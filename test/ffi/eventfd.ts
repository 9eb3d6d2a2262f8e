import { libc } from '../../src/ffi/libc.js';
import type { OffThread } from '../../src/ffi/off-thread.js';

/** An event counter (eventfd(2)): whoever reads from one that nobody has raised waits. */
export const eventfd = libc.func('int eventfd(uint32_t initial, int flags)') as (
  initial: number,
  flags: number,
) => number;

export const read = libc.func(
  'intptr_t read(int fd, uint8_t *buffer, size_t count)',
) as unknown as OffThread<[fd: number, buffer: Buffer, count: number]>;
