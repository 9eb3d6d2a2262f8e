import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { rolesToKeepReady } from '../../src/control/readiness.js';
import { configOf, parseRoleId, ViewKeeper } from '../../src/control/view.js';
import type { Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import type { Operation, Plan } from '../../src/plan/types.js';
import type { EtcdStore } from '../../src/store/etcd.js';
import { understudy } from '../cli/run.js';
import { type Kernel, type KernelWatch, lookAt } from './kernel-watch.js';

const seenByKernel = ({ kind }: Operation) => kind === 'netlink' || kind === 'namespace';

/** What the kernel should have after these operations of a plan. */
function predict(before: Kernel, operations: readonly Operation[]): Kernel {
  const after = new Map(before);
  for (const { action, object, state } of operations.filter(seenByKernel)) {
    if (action === 'remove') {
      const prefix = object.includes('/link eth')
        ? new RegExp(
            `^${object.replace('/link ', '/(?:link |)')}\\b|^${object.split('/')[0]}/route `,
          )
        : new RegExp(`^${object.split('/')[0]}/|^${object}$`);
      const alone = !object.includes('/link') && object.includes('/');
      for (const key of [...after.keys()]) {
        if (alone ? key === object : prefix.test(key)) after.delete(key);
      }
      continue;
    }
    const mac = state.mac === undefined ? '' : ` ${state.mac}`;
    after.set(object, state.mtu === undefined ? `${state.via ?? ''}` : `${state.mtu}${mac}`);
  }
  return after;
}

/**
 * Between two looks: one is some forty processes, and looks without end take from the agents the processors
 * that they need for what is waited for. Of a namespace that is not there yet no event reaches us.
 */
export const lookEveryMs = 100;

const text = (kernel: Kernel) => [...kernel].map((entry) => entry.join(' = ')).sort();

/** Initiators that each target lets in, and those that have a session. */
async function initiators(lab: Lab): Promise<{ bound: string[]; sessions: string[] }> {
  const argv = ['tgtadm', '-C', '1', '--lld', 'iscsi', '--op', 'show', '--mode', 'target'];
  const socket = `TGT_IPC_SOCKET=/run/understudy-lab/${lab.name}/tgt/socket`;
  const { stdout } = await lab.exec(lab.command('storage', ['env', socket, ...argv]));
  const sessions = [...stdout.matchAll(/Initiator: (\S+)/g)].map(([, name = '']) => name);
  const bound = [...stdout.matchAll(/^ {8}(iqn\.2026-11\.io\.understudy\S+)$/gm)];
  return { bound: bound.map(([, name = '']) => name).sort(), sessions: sessions.sort() };
}

export async function json<T>(lab: Lab, wanted: number, ...argv: readonly string[]): Promise<T> {
  const ran = await understudy([...argv, '--lab', lab.name, '--json']);
  if (ran.code !== wanted) throw new Error(`${argv.join(' ')}: ${ran.code} ${ran.stderr}`);
  return JSON.parse(ran.stdout) as T;
}

/** Keys that anybody wrote or deleted, except what agents tell all the time. */
async function keys(store: EtcdStore): Promise<ReadonlyMap<string, number>> {
  const { entries } = await store.list('');
  return new Map(
    entries
      .filter(({ key }) => !/^(report|events|steps|audit)\/|^election|^office/.test(key))
      .map(({ key, modRevision }) => [key, modRevision]),
  );
}

function touched(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>) {
  const all = new Set([...before.keys(), ...after.keys()]);
  return [...all].filter((key) => before.get(key) !== after.get(key)).sort();
}

async function look(lab: Lab, hosts: readonly string[]): Promise<ReadonlyMap<string, Kernel>> {
  const kernels = await Promise.all(
    hosts.map(async (host) => [host, await lookAt(lab, host)] as const),
  );
  return new Map(kernels);
}

/**
 * The kernels, once each host has what it keeps ready for others: it begins a second after the last news,
 * and would look as if the change had made it.
 */
async function untilKeptReady({ lab, store, hosts }: Place): Promise<ReadonlyMap<string, Kernel>> {
  const keeper = new ViewKeeper();
  const told = (kernels: ReadonlyMap<string, Kernel>) => [...kernels.values()].map(text).join();
  let before: ReadonlyMap<string, Kernel> = new Map();
  for (const endMs = Date.now() + 15_000; ; ) {
    const kernels = await look(lab, hosts);
    const isStill = told(before) === told(kernels);
    before = kernels;
    const { entries, revision } = await store.list('');
    keeper.reset(entries, revision);
    const config = configOf(keeper.view);
    const ready = hosts.every((host) =>
      (config === undefined ? [] : rolesToKeepReady(keeper.view, config, host)).every((id) =>
        kernels.get(host)?.has(`us-${parseRoleId(id).name}`),
      ),
    );
    if (ready && isStill) return kernels;
    if (Date.now() > endMs) throw new Error('what is to be kept ready is not there');
    await pause(lookEveryMs);
  }
}

/** Where changes are made and seen. */
export interface Place {
  readonly lab: Lab;
  readonly stage: Stage;
  readonly store: EtcdStore;
  readonly watch: KernelWatch;
  readonly path: string;
  readonly hosts: readonly string[];
  /** Personalities that have a volume by the file as it is now. */
  withVolumes(): readonly string[];
}

/** Plans the file at `path`, applies it, and holds what observers saw against the plan. */
export async function oneChange(t: Test, place: Place): Promise<void> {
  const { lab, store, watch, path, hosts } = place;
  const before = await untilKeptReady(place);
  for (const [host, kernel] of before) watch.follow(host, kernel);
  const keysBefore = await keys(store);
  const plan = await json<Plan>(lab, 3, 'plan', path);
  t.same(plan.warnings, [], 'no warning');
  watch.take();
  await json(lab, 0, 'apply', path, '--wait');
  const wanted = new Map(
    hosts.map((host) => [
      host,
      text(
        predict(
          before.get(host) ?? new Map(),
          plan.operations.filter(({ at }) => at === host),
        ),
      ),
    ]),
  );
  const endMs = Date.now() + 15_000;
  let after = await look(lab, hosts);
  const settled = () =>
    hosts.every((host) => same(text(after.get(host) ?? new Map()), wanted.get(host)));
  while (!settled() && Date.now() < endMs) {
    await pause(lookEveryMs);
    after = await look(lab, hosts);
  }
  for (const host of hosts)
    t.same(text(after.get(host) ?? new Map()), wanted.get(host), `kernel of ${host}`);
  await checkStore(t, store, keysBefore, plan);
  await checkTarget(t, place, plan);
  const explained = (host: string, object: string) =>
    plan.operations.some(
      (one) => one.at === host && seenByKernel(one) && covers(one.object, object),
    );
  const unexplained = watch.take().filter(({ host, object }) => !explained(host, object));
  t.same(unexplained, [], 'nothing else happened, not even for a moment');
  t.comment(`${plan.operations.length} operations`);
}

/** An operation about a NIC or a namespace explains what happens to what is on it. */
function covers(planned: string, seen: string): boolean {
  const [namespace = '', rest = ''] = planned.split('/');
  if (planned === seen || (rest === '' && seen.startsWith(`${namespace}/`))) return true;
  const device = /^link (\S+)$/.exec(rest)?.[1];
  return (
    device !== undefined &&
    (seen.startsWith(`${namespace}/${device} `) || seen.startsWith(`${namespace}/route`))
  );
}

async function checkStore(
  t: Test,
  store: EtcdStore,
  before: ReadonlyMap<string, number>,
  plan: Plan,
): Promise<void> {
  const planned = plan.operations.filter(({ at }) => at === 'store').map(({ object }) => object);
  const wanted = [...new Set(planned)].sort();
  const endMs = Date.now() + 10_000;
  let seen = touched(before, await keys(store));
  while (!same(seen, wanted) && Date.now() < endMs) seen = touched(before, await keys(store));
  t.same(seen, wanted, 'keys of the store');
}

async function checkTarget(t: Test, { lab, withVolumes }: Place, plan: Plan): Promise<void> {
  const seen = await initiators(lab);
  const { cluster, personalities } = await json<{
    cluster: string;
    personalities: { name: string; host: string; epoch: number }[];
  }>(lab, 0, 'status');
  for (const { at, object, action, text } of plan.operations) {
    const initiator = /\b(iqn\.2026-11\.io\.understudy\S+)/.exec(text)?.[1];
    if (initiator === undefined || !/session$|^mask /.test(object)) continue;
    const there = action !== 'remove';
    t.equal(seen.bound.includes(initiator), there, `${at}: ${initiator} is let in: ${there}`);
    t.equal(
      seen.sessions.includes(initiator),
      there,
      `${at}: ${initiator} has a session: ${there}`,
    );
  }
  const owners = personalities.filter(({ name }) => withVolumes().includes(name));
  t.same(
    seen.bound,
    owners
      .map(
        ({ name, host, epoch }) => `iqn.2026-11.io.understudy:${cluster}.${name}.${host}.e${epoch}`,
      )
      .sort(),
    'nobody else is let in',
  );
}

function same(a: readonly string[], b: readonly string[] | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
