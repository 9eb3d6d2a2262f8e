import { duration, type FaultMaker } from './fault.js';
import type { SimHost } from './host.js';
import type { Random } from './random.js';
import { msNs } from './time.js';
import { linkPart, type Part } from './troubles.js';
import { clockRates, type World } from './world.js';

/** Everything that a host takes part in. */
export function partsOf(world: World, { name }: Pick<SimHost, 'name'>): readonly Part[] {
  const links = [...world.hosts.keys()].flatMap((other) =>
    other === name ? [] : [linkPart(name, other), linkPart(other, name)],
  );
  return [`host:${name}`, `pulse:${name}`, `agent:${name}`, ...links];
}

const powered = (world: World): readonly SimHost[] =>
  [...world.hosts.values()].filter(({ up }) => up);

/** Hosts that are up; more often one that matters most just now. */
export function aHost(world: World, random: Random): SimHost | undefined {
  const up = powered(world);
  if (up.length === 0) return undefined;
  const busy = up.filter(({ kernel }) => kernel.nics().length > 0);
  return random.pick(busy.length > 0 && random.chance(0.5) ? busy : up);
}

let serial = 0;
const unique = (what: string): string => `${what} ${serial++}`;

const powerCut: FaultMaker = (world, random) => {
  const host = aHost(world, random);
  if (host === undefined) return undefined;
  return {
    kind: 'power-cut',
    text: `power cut of ${host.name}`,
    parts: partsOf(world, host),
    lastsMs: duration(random),
    begin: () => host.powerOff(),
    end: () => host.boot(),
  };
};

const severalPowerCuts: FaultMaker = (world, random) => {
  const hosts = random.some(powered(world), 0.4);
  if (hosts.length < 2) return undefined;
  return {
    kind: 'several-power-cuts',
    text: `power cut of ${hosts.map(({ name }) => name).join(', ')} at once`,
    parts: hosts.flatMap((host) => partsOf(world, host)),
    lastsMs: duration(random),
    begin: () => {
      for (const host of hosts) host.powerOff();
    },
    end: () => {
      for (const host of hosts) host.boot();
    },
  };
};

/**
 * A host hears nobody for a lease or two, then its watchdog boots it: what it sent to the store last
 * may land when it is back.
 */
const watchdogReboot: FaultMaker = (world, random) => {
  const host = aHost(world, random);
  if (host === undefined) return undefined;
  const others = [...world.hosts.keys()].filter((name) => name !== host.name);
  const deafMs = random.between(1.1, 2) * world.config.timing.leaseMs;
  let over = false;
  const hearAgain = () => {
    for (const other of others.splice(0)) world.datagrams.heal(other, host.name);
  };
  return {
    kind: 'watchdog-reboot',
    text: `${host.name} hears nobody for ${deafMs.toFixed(0)} ms and is booted`,
    parts: partsOf(world, host),
    lastsMs: deafMs + random.between(20, 200),
    begin: () => {
      for (const other of others) world.datagrams.cut(other, host.name);
      world.time.after(deafMs * msNs, () => {
        if (over) return;
        host.powerOff();
        hearAgain();
      });
    },
    end: () => {
      over = true;
      hearAgain();
      host.boot();
    },
  };
};

const pause: FaultMaker = (world, random) => {
  const host = aHost(world, random);
  if (host === undefined) return undefined;
  const why = unique('pause');
  return {
    kind: 'pause',
    text: `every process of ${host.name} stopped`,
    parts: partsOf(world, host),
    lastsMs: duration(random),
    begin: () => host.pause(why),
    end: () => host.resume(why),
  };
};

function stopProcess(which: 'pulse' | 'agent'): FaultMaker {
  return (world, random) => {
    const host = aHost(world, random);
    const process = host?.[which];
    if (host === undefined || process === undefined) return undefined;
    const why = unique('stop');
    return {
      kind: `${which}-stopped`,
      text: `${which} of ${host.name} stopped`,
      parts: [`${which}:${host.name}`],
      lastsMs: duration(random),
      begin: () => process.stop(why),
      end: () => process.resume(why),
    };
  };
}

function killProcess(which: 'pulse' | 'agent'): FaultMaker {
  return (world, random) => {
    const host = aHost(world, random);
    if (host === undefined) return undefined;
    const pulse = which === 'pulse';
    return {
      kind: `${which}-killed`,
      text: `${which} of ${host.name} killed`,
      parts: [`${which}:${host.name}`],
      lastsMs: duration(random),
      begin: () => (pulse ? host.killPulse() : host.killAgent()),
      end: () => (pulse ? host.startPulse() : host.startAgent()),
    };
  };
}

/** Starts and dies again and again: what an earlier start was promised arrives at a later one. */
const pulseFlaps: FaultMaker = (world, random) => {
  const host = aHost(world, random);
  if (host === undefined) return undefined;
  let on = true;
  const flap = () => {
    if (!on) return;
    host.killPulse();
    world.time.after(random.between(5, 60) * msNs, () => host.startPulse());
    world.time.after(random.between(100, 500) * msNs, flap);
  };
  return {
    kind: 'pulse-flaps',
    text: `pulse of ${host.name} dies again and again`,
    parts: [`pulse:${host.name}`],
    lastsMs: random.between(500, 3_000),
    begin: flap,
    end: () => {
      on = false;
      host.startPulse();
    },
  };
};

/** Within the bound on clock rates; it stays. */
const drift: FaultMaker = (world, random) => {
  const host = aHost(world, random);
  if (host === undefined) return undefined;
  const rates = clockRates(world.config.timing.clockMarginPercent);
  const rate = random.pick([...rates, random.between(...rates)]);
  return {
    kind: 'clock-rate',
    text: `clock of ${host.name} runs at ${rate.toFixed(5)}`,
    parts: [],
    lastsMs: 0,
    begin: () => host.clock.setRate(rate),
    end: () => {},
  };
};

const kernelTrouble: FaultMaker = (world, random) => {
  const host = aHost(world, random);
  if (host === undefined) return undefined;
  const [failing, slowness] = random.pick([
    [0.3, 1],
    [1, 1],
    [0, 30],
    [0.1, 5],
  ] as const);
  return {
    kind: 'kernel-trouble',
    text: `network and disks of ${host.name} fail (${failing}) or take ${slowness} times longer`,
    parts: [`agent:${host.name}`, `disk:${host.name}`],
    lastsMs: duration(random),
    begin: () => Object.assign(host.mood, { failing, slowness }),
    end: () => Object.assign(host.mood, { failing: 0, slowness: 1 }),
  };
};

export const hostFaults: Readonly<Record<string, FaultMaker>> = {
  'power-cut': powerCut,
  'several-power-cuts': severalPowerCuts,
  'watchdog-reboot': watchdogReboot,
  pause,
  'pulse-stopped': stopProcess('pulse'),
  'agent-stopped': stopProcess('agent'),
  'pulse-killed': killProcess('pulse'),
  'agent-killed': killProcess('agent'),
  'pulse-flaps': pulseFlaps,
  'clock-rate': drift,
  'kernel-trouble': kernelTrouble,
};
