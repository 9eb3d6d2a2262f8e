import { duration, type FaultMaker, noise } from './fault.js';
import type { Random } from './random.js';
import { msNs } from './time.js';
import { linkPart } from './troubles.js';
import type { World } from './world.js';

type Link = readonly [from: string, to: string];

function cut(world: World, random: Random, kind: string, text: string, links: readonly Link[]) {
  return {
    kind,
    text,
    parts: links.map(([from, to]) => linkPart(from, to)),
    lastsMs: duration(random),
    begin: () => {
      for (const [from, to] of links) world.datagrams.cut(from, to);
    },
    end: () => {
      for (const [from, to] of links) world.datagrams.heal(from, to);
    },
  };
}

const namesOf = (world: World): readonly string[] => [...world.hosts.keys()];

/** All links of one host: both ways, or one. */
const isolated: FaultMaker = (world, random) => {
  const names = namesOf(world);
  const name = random.pick(names);
  const others = names.filter((other) => other !== name);
  const way = random.pick(['both', 'out', 'in']);
  const links = others.flatMap((other): Link[] => [
    ...(way === 'in' ? [] : [[name, other] as const]),
    ...(way === 'out' ? [] : [[other, name] as const]),
  ]);
  return cut(world, random, 'isolated', `${name} cut off (${way})`, links);
};

/** So long that nobody can wait for its end. */
const isolatedForLong: FaultMaker = (world, random) => {
  const fault = isolated(world, random);
  return fault && { ...fault, kind: 'isolated-for-long', lastsMs: random.between(20_000, 25_000) };
};

const oneLink: FaultMaker = (world, random) => {
  const from = random.pick(world.config.controllers);
  const to = random.pick(namesOf(world).filter((other) => other !== from));
  const way = random.pick(['both', 'to', 'from']);
  const links = [
    ...(way === 'from' ? [] : [[from, to] as const]),
    ...(way === 'to' ? [] : [[to, from] as const]),
  ];
  return cut(world, random, 'link-cut', `link of ${from} and ${to} cut (${way})`, links);
};

const split: FaultMaker = (world, random) => {
  const names = namesOf(world);
  const side = random.some(names, 0.5);
  const other = names.filter((name) => !side.includes(name));
  const oneWay = random.chance(0.3);
  const links = side.flatMap((a) =>
    other.flatMap((b): Link[] =>
      oneWay
        ? [[a, b]]
        : [
            [a, b],
            [b, a],
          ],
    ),
  );
  if (links.length === 0) return undefined;
  const text = `${side.join(', ')} cut off from the others${oneWay ? ', one way' : ''}`;
  return cut(world, random, 'split', text, links);
};

const noisyLink: FaultMaker = (world, random) => {
  const from = random.pick(namesOf(world));
  const to = random.pick(namesOf(world).filter((name) => name !== from));
  const trouble = noise(random);
  return {
    kind: 'noisy-link',
    text: `link ${from} > ${to} loses ${trouble.loss}, delays ${trouble.delayMs} ms`,
    parts: [linkPart(from, to)],
    lastsMs: duration(random),
    begin: () => world.datagrams.trouble(from, to, trouble),
    end: () => world.datagrams.trouble(from, to, undefined),
  };
};

const noisyNetwork: FaultMaker = (world, random) => {
  const trouble = noise(random);
  const names = namesOf(world);
  const links = names.flatMap((a) => names.map((b) => linkPart(a, b)));
  return {
    kind: 'noisy-network',
    text: `the network loses ${trouble.loss}, doubles ${trouble.duplicates}, delays ${trouble.delayMs} ms`,
    parts: links,
    lastsMs: duration(random),
    begin: () => world.datagrams.troubleEverywhere(trouble),
    end: () => world.datagrams.troubleEverywhere(undefined),
  };
};

/**
 * One controller after the other loses a host for a lease or two and hears it again: votes are
 * cast, taken back and cast by the next one, within moments.
 */
const passingCut: FaultMaker = (world, random) => {
  const { controllers, timing } = world.config;
  const name = random.pick(namesOf(world));
  const others = controllers.filter((controller) => controller !== name);
  const [first] = others;
  if (first === undefined) return undefined;
  const rounds = 1 + random.below(3);
  const passes = Array.from({ length: rounds }, () => others).flat();
  let cutNow: string | undefined;
  const heal = () => {
    if (cutNow !== undefined) world.datagrams.heal(name, cutNow);
    cutNow = undefined;
  };
  const pass = () => {
    heal();
    cutNow = passes.shift();
    if (cutNow === undefined) return;
    world.datagrams.cut(name, cutNow);
    world.time.after(random.between(1.05, 2.5) * timing.leaseMs * msNs, () => {
      heal();
      world.time.after(random.between(0, 1.5) * timing.leaseMs * msNs, pass);
    });
  };
  return {
    kind: 'passing-cut',
    text: `${others.join(', ')} lose ${name} one after the other, ${rounds} times`,
    parts: others.flatMap((other) => [linkPart(other, name), linkPart(name, other)]),
    lastsMs: 2.5 * timing.leaseMs * passes.length,
    begin: pass,
    end: () => {
      passes.length = 0;
      heal();
    },
  };
};

/** Authentic packets of before, again: no harm may come of them. */
const replay: FaultMaker = (world, random) => {
  const count = random.pick([10, 100, 400]);
  return {
    kind: 'replay',
    text: `${count} old packets sent again`,
    parts: [],
    lastsMs: 0,
    begin: () => world.datagrams.replay(count),
    end: () => {},
  };
};

export const networkFaults: Readonly<Record<string, FaultMaker>> = {
  isolated,
  'isolated-for-long': isolatedForLong,
  'link-cut': oneLink,
  split,
  'passing-cut': passingCut,
  'noisy-link': noisyLink,
  'noisy-network': noisyNetwork,
  replay,
};
