import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { UnderstudyError } from '../errors.js';
import type { WorkloadSpec } from './types.js';
import { dropInMark, unitDropIn } from './unit-dropin.js';
import { unitOf } from './unit-name.js';

const fileName = '50-understudy.conf';

/** Our drop-ins in a directory of systemd's. Each call says whether something changed on disk. */
export class DropIns {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** @throws US_WORKLOAD_FOREIGN_DROPIN, US_WORKLOAD_SPEC */
  write(spec: WorkloadSpec): boolean {
    const path = this.#path(unitOf(spec));
    const text = unitDropIn(spec);
    const present = readIfThere(path);
    if (present === text) return false;
    if (present !== undefined && !present.startsWith(dropInMark)) throw foreign(spec, path);
    mkdirSync(join(path, '..'), { recursive: true, mode: 0o755 });
    writeFileSync(`${path}.new`, text, { mode: 0o644 });
    renameSync(`${path}.new`, path);
    return true;
  }

  /** Takes away those of all other units: they may start as they please again. */
  removeOthers(units: ReadonlySet<string>): boolean {
    const others = this.#units().filter((unit) => !units.has(unit));
    for (const unit of others) {
      const path = this.#path(unit);
      unlinkSync(path);
      removeIfEmpty(join(path, '..'));
    }
    return others.length > 0;
  }

  #path(unit: string): string {
    return join(this.#directory, `${unit}.d`, fileName);
  }

  #units(): readonly string[] {
    return entriesOf(this.#directory)
      .filter((name) => name.endsWith('.service.d'))
      .map((name) => name.slice(0, -'.d'.length))
      .filter((unit) => readIfThere(this.#path(unit))?.startsWith(dropInMark));
  }
}

function foreign(spec: WorkloadSpec, path: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_WORKLOAD_FOREIGN_DROPIN',
    action: 'cannot prepare the unit of',
    object: spec.personality,
    cause: `${path} is there and was not written by understudy`,
    remedy: 'rename that file',
  });
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function entriesOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** The user may have drop-ins of the same unit beside ours. */
function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Theirs are in it.
  }
}
