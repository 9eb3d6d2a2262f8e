import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { messageOf, UnderstudyError } from '../errors.js';
import type { LabPlan } from './plan.js';
import { startTimeOf } from './processes.js';

/** Where running labs are noted, one folder each. */
const statesDirectory = '/run/understudy-lab';
const fileName = 'lab.json';

/** What is written down of a running lab. */
export interface LabState {
  readonly name: string;
  /** PID 1 of the lab, as this machine sees it, and when it started: a number alone is reused. */
  readonly pid: number;
  readonly startTime: string;
  /** false while it is being built: then only whoever builds it may use it. */
  readonly ready: boolean;
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
const stateFile = (name: string): string => join(labDirectory(name), fileName);

export function makeLabDirectory(name: string): void {
  mkdirSync(statesDirectory, { recursive: true, mode: 0o755 });
  mkdirSync(labDirectory(name), { recursive: true, mode: 0o700 });
}

const claimTries = 5;

/**
 * Notes a lab down under its name, unless one of that name runs. Of two that try at once, one is
 * refused: link(2) makes a file with its content, or fails.
 *
 * @throws {UnderstudyError} US_LAB_RUNNING
 */
export function claimName(state: LabState): void {
  const path = stateFile(state.name);
  for (let round = 0; round < claimTries; round++) {
    makeLabDirectory(state.name);
    const draft = `${path}.${process.pid}`;
    writeFileSync(draft, JSON.stringify(state), { mode: 0o600 });
    try {
      linkSync(draft, path);
      return;
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException;
      if (code !== 'EEXIST' && code !== 'ENOENT') throw thrown;
      if (readState(state.name) !== undefined) break;
    } finally {
      rmSync(draft, { force: true });
    }
  }
  throw new UnderstudyError({
    code: 'US_LAB_RUNNING',
    action: 'cannot start lab',
    object: state.name,
    cause: 'one of this name runs, or is being started',
    remedy: `understudy lab down --lab ${state.name}, or give this one another name with --lab`,
  });
}

/** Replaces the state in one step. Only for the lab's builder. */
export function updateState(state: LabState): void {
  const path = stateFile(state.name);
  writeFileSync(`${path}.new`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Takes a lab's note away, if it is still this one's. */
export function removeState(state: Pick<LabState, 'name' | 'pid' | 'startTime'>): void {
  const noted = parse(state.name);
  if (noted !== undefined && (noted.pid !== state.pid || noted.startTime !== state.startTime))
    return;
  rmSync(stateFile(state.name), { force: true });
  removeEmpty(labDirectory(state.name));
  removeEmpty(statesDirectory);
}

function removeEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Not empty: it is somebody else's, too.
  }
}

function parse(name: string): LabState | undefined {
  const path = stateFile(name);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  try {
    return JSON.parse(text) as LabState;
  } catch (thrown) {
    throw new UnderstudyError({
      code: 'US_LAB_STATE',
      action: 'cannot read',
      object: path,
      cause: messageOf(thrown),
      remedy: `no lab of this name can be used; remove ${labDirectory(name)} if none runs`,
    });
  }
}

/** The state of a lab that really runs; what a crash left of one that does not is removed. */
export function readState(name: string): LabState | undefined {
  const state = parse(name);
  if (state === undefined) return undefined;
  if (startTimeOf(state.pid) === state.startTime) return state;
  removeStale(state);
  return undefined;
}

/** Moved aside before it is removed: at this moment another lab may have taken the name. */
function removeStale(stale: LabState): void {
  const path = stateFile(stale.name);
  const aside = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, aside);
    const moved = JSON.parse(readFileSync(aside, 'utf8')) as LabState;
    if (moved.pid !== stale.pid || moved.startTime !== stale.startTime) linkSync(aside, path);
  } catch {
    // Somebody else removed it, or took the name again meanwhile.
  } finally {
    rmSync(aside, { force: true });
  }
  removeEmpty(labDirectory(stale.name));
  removeEmpty(statesDirectory);
}

export function runningLabs(): readonly LabState[] {
  if (!existsSync(statesDirectory)) return [];
  return readdirSync(statesDirectory).flatMap((name) => readState(name) ?? []);
}

/**
 * The running lab: the named one (also by US_LAB), else the only one. Undefined when none runs.
 *
 * @throws {UnderstudyError} US_LAB_UNKNOWN, US_LAB_AMBIGUOUS, US_LAB_STATE
 */
export function findLab(name = process.env.US_LAB): FoundLab | undefined {
  const labs = runningLabs().filter(({ ready }) => ready);
  const names = labs.map((lab) => lab.name).join(', ');
  if (name !== undefined) {
    const state = labs.find((lab) => lab.name === name);
    if (state !== undefined) return found(state);
    throw new UnderstudyError({
      code: 'US_LAB_UNKNOWN',
      action: 'cannot find lab',
      object: name,
      cause: labs.length === 0 ? 'no lab runs' : `running: ${names}`,
      remedy: 'start it with understudy lab up FILE',
    });
  }
  const [only, ...others] = labs;
  if (others.length > 0) {
    throw new UnderstudyError({
      code: 'US_LAB_AMBIGUOUS',
      action: 'cannot choose',
      object: 'a lab',
      cause: `several run: ${names}`,
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
