import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, UnderstudyError } from '../errors.js';
import type { LabPlan } from './plan.js';
import { startTimeOf } from './processes.js';

/** Where running labs are noted, one folder each. */
const statesDirectory = '/run/understudy-lab';

/** What is written down of a running lab. */
export interface LabState {
  readonly name: string;
  /** PID 1 of the lab, as this machine sees it, and when it started: a number alone is reused. */
  readonly pid: number;
  readonly startTime: string;
  readonly plan: LabPlan;
}

/** A running lab as commands about its cluster need it. */
export interface FoundLab {
  readonly cluster: string;
  readonly controlNamespace: string;
  readonly endpoints: readonly string[];
  readonly state: LabState;
}

export const labDirectory = (name: string): string => join(statesDirectory, name);

export function writeState(state: LabState): void {
  const directory = labDirectory(state.name);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  writeFileSync(join(directory, 'lab.json'), JSON.stringify(state), { mode: 0o600 });
}

export function removeState(name: string): void {
  rmSync(labDirectory(name), { recursive: true, force: true });
  try {
    if (readdirSync(statesDirectory).length === 0) rmSync(statesDirectory, { recursive: true });
  } catch {
    // Somebody else's lab came or went at this moment.
  }
}

/** The state of a lab that really runs; what a crash left of one that does not is removed. */
export function readState(name: string): LabState | undefined {
  const path = join(labDirectory(name), 'lab.json');
  if (!existsSync(path)) return undefined;
  let state: LabState;
  try {
    state = JSON.parse(readFileSync(path, 'utf8')) as LabState;
  } catch (thrown) {
    throw new UnderstudyError({
      code: 'US_LAB_STATE',
      action: 'cannot read',
      object: path,
      cause: messageOf(thrown),
      remedy: `no lab of this name can be used; remove ${labDirectory(name)} if none runs`,
    });
  }
  if (startTimeOf(state.pid) === state.startTime) return state;
  removeState(name);
  return undefined;
}

export function runningLabs(): readonly LabState[] {
  if (!existsSync(statesDirectory)) return [];
  return readdirSync(statesDirectory).flatMap((name) => readState(name) ?? []);
}

/** The running lab: the named one (also by US_LAB), else the only one. Undefined when none runs. */
export function findLab(name = process.env.US_LAB): FoundLab | undefined {
  const labs = runningLabs();
  if (name !== undefined) {
    const state = labs.find((lab) => lab.name === name);
    if (state !== undefined) return found(state);
    throw new UnderstudyError({
      code: 'US_LAB_UNKNOWN',
      action: 'cannot find lab',
      object: name,
      cause:
        labs.length === 0 ? 'no lab runs' : `running: ${labs.map((lab) => lab.name).join(', ')}`,
      remedy: 'start it with understudy lab up FILE',
    });
  }
  const [only, ...others] = labs;
  if (others.length > 0) {
    throw new UnderstudyError({
      code: 'US_LAB_AMBIGUOUS',
      action: 'cannot choose',
      object: 'a lab',
      cause: `several run: ${labs.map((lab) => lab.name).join(', ')}`,
      remedy: 'name one with --lab or US_LAB',
    });
  }
  return only === undefined ? undefined : found(only);
}

function found(state: LabState): FoundLab {
  return {
    cluster: state.plan.config.cluster,
    controlNamespace: `/proc/${state.pid}/root/run/netns/ctl`,
    endpoints: state.plan.config.store.endpoints,
    state,
  };
}
