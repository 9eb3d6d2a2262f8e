import type { PulsePort } from '../../src/agent/pulse-port.js';
import { allRules, type Rules } from '../../src/control/lease/rules.js';
import type { PulseReply, PulseRequest } from '../../src/pulse/protocol.js';
import type { Violation } from '../../src/simulate/checks/check.js';
import type { SimProcess } from '../../src/simulate/process.js';
import { run } from '../../src/simulate/run.js';
import type { Sabotage } from '../../src/simulate/sabotage.js';
import { variant } from '../../src/simulate/variant.js';
import type { Change, Compare, Store, Transaction } from '../../src/store/types.js';

/** One rule broken. Names are those of the model's options where it has one. */
export interface Mutant {
  readonly name: string;
  /** The rule that is broken. */
  readonly broken: string;
  readonly rules?: Partial<Rules>;
  /** Anew for each run. */
  readonly sabotage?: () => Sabotage;
  /** Faults that are worth trying; default: all. */
  readonly kinds?: readonly string[];
  /** How many in a run; default 12. */
  readonly faults?: number;
  /** Within so many seeds of clusters with three controllers it is caught. */
  readonly seeds: number;
}

const cuts = ['isolated', 'link-cut', 'split', 'noisy-network', 'pause', 'pulse-stopped'];
const changes = ['controllers', 'controllers', 'controllers', ...cuts];
const restarts = ['power-cut', 'pulse-killed', 'agent-killed'];

export const mutants: readonly Mutant[] = [
  {
    name: 'fromack',
    broken: 'the deadline counts from the acknowledgement, not from sending',
    rules: { countFromSending: false },
    kinds: cuts,
    seeds: 5,
  },
  {
    name: 'nomaj',
    broken: 'a lease needs less than a majority of controllers',
    rules: { majority: false },
    kinds: cuts,
    seeds: 5,
  },
  {
    name: 'notdistinct',
    broken: 'one controller counts as many',
    rules: { distinctControllers: false },
    kinds: cuts,
    seeds: 5,
  },
  {
    name: 'incl',
    broken: 'frames pass at the deadline itself',
    sabotage: () => ({ guard: 'late' }),
    kinds: cuts,
    seeds: 5,
  },
  {
    name: 'guard-off',
    broken: 'the guard lets everything pass',
    sabotage: () => ({ guard: 'off' }),
    kinds: cuts,
    seeds: 5,
  },
  {
    name: 'nononce',
    broken: 'answers to an earlier start of pulse count',
    rules: { ownNonceOnly: false },
    kinds: ['pulse-flaps', 'noisy-network', 'replay'],
    seeds: 200,
  },
  {
    name: 'nomargin',
    broken: 'promises have no margin for clocks of different rates',
    rules: { margin: false },
    kinds: [...cuts, 'clock-rate'],
    seeds: 100,
  },
  {
    name: 'fromsend',
    broken: "a promise counts from the sender's time stamp",
    rules: { promiseFromReceipt: false },
    kinds: cuts,
    seeds: 5,
  },
  {
    name: 'votenow',
    broken: 'a controller votes right after its restart',
    rules: { waitAfterStart: false },
    kinds: [...cuts, ...restarts],
    seeds: 50,
  },
  {
    name: 'ackvoted',
    broken: 'a controller acknowledges what it has voted on',
    rules: { refuseStopped: false },
    kinds: cuts,
    seeds: 5,
  },
  {
    name: 'stopnow',
    broken: 'a stop counts while a promise runs',
    rules: { stopAfterPromise: false },
    kinds: cuts,
    seeds: 100,
  },
  {
    name: 'noecho',
    broken: 'a promise is given to a host that hears no answers',
    rules: { echo: false },
    kinds: ['isolated-for-long'],
    faults: 1,
    seeds: 200,
  },
  {
    name: 'volatile',
    broken: 'a restarted controller does not know its votes',
    sabotage: () => ({ pulse: altered(forgetVotes) }),
    kinds: [...cuts, ...restarts],
    seeds: 30,
  },
  {
    name: 'ackunread',
    broken: 'a restarted controller acknowledges before it has read the votes',
    sabotage: () => ({ pulse: grantAtOnce() }),
    kinds: [...cuts, ...restarts],
    seeds: 300,
  },
  {
    name: 'ackinflight',
    broken: "acknowledgements go on while the vote's write is under way",
    sabotage: () => ({ pulse: stopLater }),
    kinds: cuts,
    seeds: 10,
  },
  {
    name: 'zombie',
    broken: 'an old process of a controller goes on acknowledging',
    sabotage: () => ({ oldPulseLives: true }),
    kinds: [...cuts, 'pulse-killed'],
    seeds: 5,
  },
  {
    name: 'nofence',
    broken: 'a vote does not compare the start nonce',
    sabotage: () => ({ store: without((key) => key.startsWith('controllers/')) }),
    kinds: ['watchdog-reboot', 'etcd-slow', 'late-requests'],
    seeds: 30,
  },
  {
    name: 'reenrol',
    broken: 'a host enrols anew over the same deadline, with its old devices still there',
    sabotage: () => ({ oneMap: true, devicesStay: true }),
    kinds: cuts,
    seeds: 10,
  },
  {
    name: 'onevote',
    broken: 'one vote is taken for a majority, and the commit does not compare votes',
    sabotage: () => ({ store: voteForAll }),
    kinds: cuts,
    seeds: 5,
  },
  {
    name: 'norevision',
    broken: "a commit does not compare the assignment's revision",
    sabotage: () => ({ store: without((key) => key.startsWith('assign/')) }),
    kinds: ['power-cut', 'etcd-slow', 'late-requests', 'drain', 'move'],
    seeds: 100,
  },
  {
    name: 'wtally',
    broken: 'a commit rests on votes that were taken back meanwhile',
    sabotage: () => ({ store: unchecked('assign/', 'votes/') }),
    kinds: ['passing-cut', 'late-news'],
    seeds: 20,
  },
  {
    name: 'wnofence',
    broken: "a vote's late write passes although the vote was taken back",
    sabotage: () => ({ store: unchecked('votes/', 'votes/') }),
    kinds: ['passing-cut', 'late-requests'],
    seeds: 20,
  },
  {
    name: 'nowithdraw',
    broken: 'no vote is ever taken back',
    sabotage: () => ({ store: (store) => wrapped(store, { refuse: takesVoteBack }) }),
    kinds: ['link-cut', 'pulse-stopped'],
    seeds: 60,
  },
  {
    name: 'newmajority',
    broken: 'while the controllers change, a majority of the new ones alone commits',
    rules: { votesOfBothSets: false },
    kinds: changes,
    seeds: 30,
  },
  {
    name: 'oldlease',
    broken: 'while the controllers change, a majority of the old ones alone carries a lease',
    rules: { leaseOfBothSets: false },
    kinds: changes,
    seeds: 30,
  },
  {
    name: 'refuseearly',
    broken: 'old controllers refuse the old set before all hosts have moved',
    rules: { hostsMoveFirst: false },
    kinds: [...changes, 'agent-stopped', 'agent-killed'],
    faults: 30,
    seeds: 100,
  },
  {
    name: 'finalnow',
    broken: 'the new controllers count alone before the last lease under the old set has ended',
    rules: { waitForLastLease: false, hostsMoveFirst: false },
    kinds: changes,
    seeds: 100,
  },
  {
    name: 'oldset',
    broken: 'old controllers go on acknowledging who counts by the old set',
    rules: { refuseOldSet: false, hostsMoveFirst: false },
    kinds: [...changes, 'agent-stopped', 'agent-killed', 'cut-from-store', 'cut-from-store'],
    seeds: 300,
  },
  {
    name: 'anywrite',
    broken: 'the target asks neither for host nor for epoch',
    sabotage: () => ({ openTarget: true }),
    kinds: [...cuts, 'kernel-trouble'],
    seeds: 5,
  },
];

/** Runs of the broken product until a check notices. */
export async function hunt(mutant: Mutant): Promise<Catch | undefined> {
  const { rules = {}, sabotage, kinds, faults = 12, seeds } = mutant;
  for (const [index, seed] of seedsOfThree(seeds).entries()) {
    const options = {
      config: variant(seed),
      seed,
      faults,
      ...(kinds === undefined ? {} : { kinds }),
    };
    const broken = await withRules(rules, () =>
      run({ ...options, ...(sabotage === undefined ? {} : { sabotage: sabotage() }) }),
    );
    const [violation] = broken.violations;
    if (violation === undefined) continue;
    const honest = await run(options);
    return { seed, tried: index + 1, violation, honest: honest.violations };
  }
  return undefined;
}

export interface Catch {
  readonly seed: number;
  /** How many seeds it took. */
  readonly tried: number;
  readonly violation: Violation;
  /** What the same seed breaks without the mutant: nothing. */
  readonly honest: readonly Violation[];
}

/** Seeds whose clusters have three controllers. */
function seedsOfThree(count: number): readonly number[] {
  const seeds: number[] = [];
  for (let seed = 1; seeds.length < count; seed++) {
    if (variant(seed).controllers.length === 3) seeds.push(seed);
  }
  return seeds;
}

/** Switches rules off in the production core while `work` runs. */
async function withRules<T>(rules: Partial<Rules>, work: () => Promise<T>): Promise<T> {
  const honest = { ...allRules };
  Object.assign(allRules, rules);
  try {
    return await work();
  } finally {
    Object.assign(allRules, honest);
  }
}

function altered(alter: (request: PulseRequest) => PulseRequest) {
  return (port: PulsePort): PulsePort => ({
    request: (request) => port.request(alter(request)),
    onConnect: (listener) => port.onConnect(listener),
    onEvent: (listener) => port.onEvent(listener),
  });
}

function forgetVotes(request: PulseRequest): PulseRequest {
  return request.kind === 'control' ? { ...request, stopped: [] } : request;
}

/** What pulse was told last is told again at once when it comes back, less what must be read. */
function grantAtOnce() {
  const told = new Map<string, PulseRequest>();
  return (port: PulsePort, process: SimProcess): PulsePort => {
    port.onConnect(() => {
      const last = told.get(process.name);
      if (last !== undefined) void port.request(last).catch(() => {});
    });
    return altered((request) => {
      if (request.kind === 'control') told.set(process.name, { ...request, stopped: [] });
      return request;
    })(port);
  };
}

const stopDelayMs = 150;

/** Says that acknowledgements have stopped, and stops them a little later. */
function stopLater(port: PulsePort, process: SimProcess): PulsePort {
  const ok: PulseReply = { kind: 'ok' };
  return {
    ...altered((request) => request)(port),
    request: (request) => {
      if (request.kind !== 'stop-acks') return port.request(request);
      process.timers.after(stopDelayMs, () => void port.request(request).catch(() => {}));
      return Promise.resolve(ok);
    },
  };
}

/** Transactions that write below `written` do not compare what is below `compared`. */
function unchecked(written: string, compared: string) {
  return (store: Store): Store =>
    wrapped(store, {
      compare: ({ key }, { write }) =>
        !key.startsWith(compared) || !write.some((operation) => operation.key.startsWith(written)),
    });
}

function without(dropped: (key: string) => boolean) {
  return (store: Store): Store => wrapped(store, { compare: ({ key }) => !dropped(key) });
}

/** Every vote is shown as if all controllers had voted; the store is not asked whether they did. */
function voteForAll(store: Store): Store {
  return wrapped(store, {
    compare: ({ key }) => !key.startsWith('votes/'),
    changes: (changes) =>
      changes.flatMap((change) => {
        const [head, host, incarnation] = keyOf(change).split('/');
        if (change.kind !== 'put' || head !== 'votes') return [change];
        return ['h1', 'h2', 'h3'].map((controller) => ({
          ...change,
          entry: { ...change.entry, key: `votes/${host}/${incarnation}/${controller}` },
        }));
      }),
  });
}

function keyOf(change: Change): string {
  return change.kind === 'put' ? change.entry.key : change.key;
}

interface Alteration {
  /** Which comparisons reach the store. */
  compare?(compare: Compare, transaction: Transaction): boolean;
  changes?(changes: readonly Change[]): readonly Change[];
  /** Which transactions never succeed. */
  refuse?(transaction: Transaction): boolean;
}

function takesVoteBack({ write }: Transaction): boolean {
  return write.some(
    (one) =>
      one.kind === 'put' && one.key.startsWith('votes/') && one.value.includes('"withdrawn"'),
  );
}

function wrapped(store: Store, alteration: Alteration): Store {
  const { compare = () => true, changes: show = (changes) => changes } = alteration;
  const { refuse = () => false } = alteration;
  const refused = { done: false, revision: 0, current: [] };
  return {
    start: (signal) => store.start(signal),
    stop: () => store.stop(),
    suit: (leaseMs) => store.suit(leaseMs),
    get: (key, options) => store.get(key, options),
    list: (prefix, options) => store.list(prefix, options),
    transact: async (transaction: Transaction, options) =>
      refuse(transaction)
        ? refused
        : await store.transact(
            {
              ...transaction,
              compare: transaction.compare.filter((one) => compare(one, transaction)),
            },
            options,
          ),
    watch: (prefix, listener, signal) =>
      store.watch(
        prefix,
        {
          snapshot: (snapshot) => listener.snapshot(snapshot),
          changes: (changes, revision) => listener.changes(show(changes), revision),
        },
        signal,
      ),
    campaign: (office, candidate, listener, signal) =>
      store.campaign(office, candidate, listener, signal),
    holder: (office, options) => store.holder(office, options),
  };
}
