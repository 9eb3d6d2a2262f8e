import { test } from 'tap';
import {
  acceptKey,
  dropKey,
  type HostKeys,
  type Keyring,
  type KeyStep,
  useKey,
} from '../../src/operate/key-change.js';

interface Host {
  readonly file: readonly string[];
  readonly told: HostKeys | undefined;
  /** A command at work: what it has still to do, in order. */
  readonly todo: readonly Act[];
}
type Act = { readonly file: readonly string[] } | { readonly tell: HostKeys } | 'use' | 'drop';
type World = readonly Host[];

const names = ['a', 'b', 'c'];

const keyringOf = (world: World): Keyring => ({
  hosts: Object.fromEntries(
    world.flatMap(({ told }, at) => (told === undefined ? [] : [[names[at] ?? '', told]])),
  ),
});

const acts = ({ file, after }: KeyStep): Act[] => [
  { file },
  ...(after === undefined ? [] : [{ tell: after }]),
];

const changed = (world: World, at: number, part: Partial<Host>): World =>
  world.map((host, index) => (index === at ? { ...host, ...part } : host));

const refusable = <T>(step: () => T): T | undefined => {
  try {
    return step();
  } catch {
    return undefined;
  }
};

/** The next part of a host's command; the decision and what is told by it are one (a comparison). */
function advance(world: World, at: number): World {
  const host = world[at] as Host;
  const [act, ...todo] = host.todo as [Act, ...Act[]];
  const name = names[at] ?? '';
  if (act === 'use' || act === 'drop') {
    const decide = act === 'use' ? useKey : dropKey;
    const living = names.slice(0, world.length);
    const step = refusable(() => decide(name, host.file, keyringOf(world), living));
    if (step === undefined) return changed(world, at, { todo: [] });
    const told = step.before ?? host.told;
    return changed(world, at, { told, todo: acts(step) });
  }
  if ('file' in act) return changed(world, at, { file: act.file, todo });
  return changed(world, at, { told: act.tell, todo });
}

function* next(world: World): Generator<World> {
  for (const [at, host] of world.entries()) {
    if (host.todo.length > 0) {
      yield advance(world, at);
      yield changed(world, at, { todo: [] });
      continue;
    }
    for (const young of ['old', 'new']) {
      const step = refusable(() => acceptKey(names[at] ?? '', host.file, young));
      if (step !== undefined) yield changed(world, at, { todo: acts(step) });
    }
    yield changed(world, at, { todo: ['use'] });
    yield changed(world, at, { todo: ['drop'] });
  }
}

const understood = (world: World): boolean =>
  world.every((a) => world.every((b) => b.file.includes(a.file[0] ?? '')));

/** Everybody ends what was begun, by the three steps that the manual names. */
function finish(world: World): World {
  let end = world.map((host) => ({ ...host, todo: [] as readonly Act[] })) as World;
  const run = (at: number, todo: readonly Act[]) => {
    end = changed(end, at, { todo });
    while ((end[at]?.todo.length ?? 0) > 0) end = advance(end, at);
  };
  for (const [at, { file }] of end.entries()) {
    const step = refusable(() => acceptKey(names[at] ?? '', file, 'new'));
    if (step !== undefined) run(at, acts(step));
  }
  for (const at of end.keys()) run(at, ['use']);
  for (const at of end.keys()) run(at, ['drop']);
  return end;
}

/** Every state that can be come to; the first in which two hosts part, if any. */
function explore(first: World): { states: number; parted: World | undefined } {
  const seen = new Set([JSON.stringify(first)]);
  const open: World[] = [first];
  for (let world = open.pop(); world !== undefined; world = open.pop()) {
    if (!understood(world)) return { states: seen.size, parted: world };
    for (const then of next(world)) {
      const text = JSON.stringify(then);
      if (seen.has(text)) continue;
      seen.add(text);
      open.push(then);
    }
  }
  return { states: seen.size, parted: undefined };
}

test('in every order of steps, each cut short anywhere, hosts understand each other', (t) => {
  const host: Host = { file: ['old'], told: undefined, todo: [] };
  const { states, parted } = explore([host, host]);
  t.equal(parted, undefined);
  t.ok(states > 500, `${states} states`);
  t.end();
});

test('a change that went as the manual says ends with the new key alone, also after a kill', (t) => {
  const host: Host = { file: ['old'], told: undefined, todo: [] };
  t.same(
    finish([host, host, host]).map(({ file }) => file),
    [['new'], ['new'], ['new']],
  );
  // Killed between the file and what is told of it, and the other way round.
  const keys = ['old', 'new'];
  const cut: World = [
    { file: ['new', 'old'], told: { keys, young: 'new', turning: true }, todo: [] },
    { file: keys, told: { keys, young: 'new', turning: true }, todo: [] },
    { file: keys, told: undefined, todo: [] },
  ];
  t.same(
    finish(cut).map(({ file }) => file),
    [['new'], ['new'], ['new']],
  );
  t.end();
});
