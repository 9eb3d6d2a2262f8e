import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { must, type Stage } from '../../src/demo/stage.js';

const clients = new URL('./echo-clients.js', import.meta.url).pathname;

/** Asks once from each port: `PORT NAME`, or `PORT !WHY`. */
const asker = `
const [host, ...ports] = process.argv.slice(1);
for (const localPort of ports) {
  const socket = require('net').connect({ host, port: 80, localPort: Number(localPort) });
  socket.setTimeout(2000, () => socket.destroy(new Error('no answer')));
  socket.on('connect', () => socket.write('who\\n'));
  socket.on('data', (data) => { console.log(localPort, String(data).trim()); socket.resetAndDestroy(); });
  socket.on('error', (error) => console.log(localPort, '!' + error.message));
}`;

export async function askFrom(
  stage: Stage,
  address: string,
  ports: readonly number[],
): Promise<ReadonlyMap<number, string>> {
  const argv = [process.execPath, '-e', asker, '--', address, ...ports.map(String)];
  const lines = (await must(stage, 'c1', argv)).trim().split('\n');
  return new Map(
    lines.map((line) => {
      const [port = '', name = ''] = line.split(' ', 2);
      return [Number(port), name];
    }),
  );
}

/** Connections of client c1 that talk all the time, each from a port of its own (echo-clients.ts). */
export class Crowd {
  /** By port: who answered first. */
  readonly at = new Map<number, string>();
  readonly moved: string[] = [];
  readonly broken = new Map<number, string>();
  readonly #aliveMs = new Map<number, number>();
  readonly #count: number;
  #look: () => void = () => {};

  constructor(t: Test, stage: Stage, address: string, firstPort: number, count: number) {
    this.#count = count;
    const words = [address, String(firstPort), String(count)];
    const child = stage.lab.spawn('c1', [process.execPath, clients, ...words]);
    t.teardown(() => child.kill('SIGKILL'));
    if (child.stdout === null) throw new Error('the clients have no output');
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [port = '', what = '', ...detail] = line.split(' ');
      if (what === 'alive') this.#aliveMs.set(Number(port), Number(detail[0]));
      else if (what === 'moved') this.moved.push(line);
      else if (what === 'broken') this.broken.set(Number(port), detail.join(' '));
      else this.at.set(Number(port), what);
      this.#look();
    });
  }

  /** Each is answered once more, or is broken. */
  async heard(): Promise<void> {
    const sinceMs = Date.now();
    await this.until(
      () =>
        [...this.#aliveMs].filter(([port, atMs]) => atMs > sinceMs && !this.broken.has(port))
          .length +
          this.broken.size >=
        this.#count,
    );
  }

  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#look = () => {
        if (condition()) resolve();
      };
      this.#look();
    });
  }
}
