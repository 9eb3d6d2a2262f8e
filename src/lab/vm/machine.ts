import { Line } from './line.js';

/** The line to a machine itself, in a host's folder. */
export const machineSocket = 'machine.sock';

/**
 * Stops the processor, as a hypervisor's pause does: the machine's clocks stop too, and it knows nothing
 * of it.
 *
 * @throws {Error} when the machine's process does not answer
 */
export async function stopProcessor(folder: string): Promise<void> {
  await askMachine(folder, 'stop');
}

/** It goes on where it was. */
export async function continueProcessor(folder: string): Promise<void> {
  await askMachine(folder, 'cont');
}

export async function isPaused(folder: string): Promise<boolean> {
  const { status } = await askMachine<{ status: string }>(folder, 'query-status');
  return status === 'paused';
}

/** One command (qemu-qmp-ref(7)) without arguments. @throws {Error} with the machine's words */
export async function askMachine<T>(folder: string, execute: string): Promise<T> {
  const line = new Line(folder, machineSocket);
  try {
    await line.answer(({ QMP }) => QMP !== undefined);
    await line.ask('qmp_capabilities');
    return await line.ask<T>(execute);
  } finally {
    line.close();
  }
}
