import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { WorkloadSpec } from './types.js';

/** The process that was started for a spec. */
export interface StartedProcess {
  readonly pid: number;
  /** See ProcessStat: compared before anything is sent to the pid. */
  readonly startTicks: string;
}

/** What an agent leaves behind for the next one. */
export interface WorkloadRecord {
  readonly spec: WorkloadSpec;
  readonly process: StartedProcess | null;
}

const schema = z.object({
  spec: z.object({
    personality: z.string(),
    epoch: z.number(),
    namespacePath: z.string(),
    mounts: z.array(z.object({ source: z.string(), target: z.string() })),
    workload: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('none') }),
      z.object({ kind: z.literal('command'), command: z.array(z.string()) }),
      z.object({ kind: z.literal('unit'), unit: z.string() }),
    ]),
  }),
  process: z.object({ pid: z.number().int().min(2), startTicks: z.string() }).nullable(),
});

/** The records below `/run/understudy/workload`: gone after a reboot, as the processes are. */
export class Records {
  readonly directory: string;

  constructor(runDirectory: string) {
    this.directory = join(runDirectory, 'workload');
  }

  write(record: WorkloadRecord): void {
    this.writeFile(`${record.spec.personality}.json`, `${JSON.stringify(record)}\n`);
  }

  /** Replaces a file in one step, so that no reader and no crash sees half of it. */
  writeFile(name: string, text: string): void {
    mkdirSync(this.directory, { recursive: true, mode: 0o755 });
    const path = join(this.directory, name);
    writeFileSync(`${path}.new`, text, { mode: 0o644 });
    renameSync(`${path}.new`, path);
  }

  remove(personality: string): void {
    rmSync(join(this.directory, `${personality}.json`), { force: true });
    rmSync(join(this.directory, `${personality}.enter`), { force: true });
  }

  /** All readable records. `unreadable` is told of the others; they are left as they are. */
  all(unreadable: (path: string, reason: string) => void): readonly WorkloadRecord[] {
    let names: string[];
    try {
      names = readdirSync(this.directory);
    } catch {
      return [];
    }
    return names
      .filter((name) => name.endsWith('.json'))
      .flatMap((name) => {
        const path = join(this.directory, name);
        try {
          return [schema.parse(JSON.parse(readFileSync(path, 'utf8')))];
        } catch (thrown) {
          unreadable(path, thrown instanceof Error ? thrown.message : String(thrown));
          return [];
        }
      });
  }
}
