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
  await withMachine(folder, (line) => line.ask('stop'));
}

/** It goes on where it was. */
export async function continueProcessor(folder: string): Promise<void> {
  await withMachine(folder, (line) => line.ask('cont'));
}

export async function isPaused(folder: string): Promise<boolean> {
  const { status } = await withMachine(folder, (line) =>
    line.ask<{ status: string }>('query-status'),
  );
  return status === 'paused';
}

async function withMachine<T>(folder: string, use: (line: Line) => Promise<T>): Promise<T> {
  const line = new Line(folder, machineSocket);
  try {
    await line.answer(({ QMP }) => QMP !== undefined);
    await line.ask('qmp_capabilities');
    return await use(line);
  } finally {
    line.close();
  }
}
