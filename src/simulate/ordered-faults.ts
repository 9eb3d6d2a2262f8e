import type { FaultMaker } from './fault.js';
import { aHost, partsOf } from './host-faults.js';
import { linkPart } from './troubles.js';

/** So long that nobody can wait for its end. */
const agentGoneForLong: FaultMaker = (world, random) => {
  const host = aHost(world, random);
  if (host === undefined) return undefined;
  return {
    kind: 'agent-gone-for-long',
    text: `agent of ${host.name} killed`,
    parts: [`agent:${host.name}`],
    lastsMs: random.between(20_000, 25_000),
    begin: () => host.killAgent(),
    end: () => host.startAgent(),
  };
};

/** Too few controllers hear a host for a lease, too few do not hear it for votes: the others are dead. */
const halfHeard: FaultMaker = (world, random) => {
  const victim = aHost(world, random);
  const { controllers } = world.config;
  const others = controllers.filter((name) => name !== victim?.name && world.host(name).up);
  const dead = others.slice(0, Math.floor((controllers.length - 1) / 2));
  const [deaf] = others.slice(dead.length);
  if (victim === undefined || dead.length === 0 || deaf === undefined) return undefined;
  const { name } = victim;
  return {
    kind: 'half-heard',
    text: `power cut of ${dead.join(', ')}; ${name} and ${deaf} do not hear each other`,
    parts: [
      ...dead.flatMap((one) => partsOf(world, world.host(one))),
      linkPart(name, deaf),
      linkPart(deaf, name),
    ],
    lastsMs: random.between(20_000, 25_000),
    begin: () => {
      for (const one of dead) world.host(one).powerOff();
      world.datagrams.cut(name, deaf);
      world.datagrams.cut(deaf, name);
    },
    end: () => {
      world.datagrams.heal(name, deaf);
      world.datagrams.heal(deaf, name);
      for (const one of dead) world.host(one).boot();
    },
  };
};

export const orderedFaults: Readonly<Record<string, FaultMaker>> = {
  'agent-gone-for-long': agentGoneForLong,
  'half-heard': halfHeard,
};
