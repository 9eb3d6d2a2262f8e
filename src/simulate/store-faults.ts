import type { EtcdMemberState } from './etcd-cluster.js';
import { duration, type FaultMaker } from './fault.js';
import type { Random } from './random.js';
import type { World } from './world.js';

type Ailment = 'up' | 'frozen' | 'isolated';

function ail(world: World, members: readonly EtcdMemberState[], ailment: Ailment, ill: boolean) {
  for (const member of members) member[ailment] = ailment === 'up' ? !ill : ill;
  world.etcd.look();
}

function memberFault(
  world: World,
  random: Random,
  kind: string,
  members: readonly EtcdMemberState[],
) {
  const ailment = random.pick<Ailment>(['up', 'frozen', 'isolated']);
  if (members.some((member) => member.up === false || member.frozen || member.isolated)) {
    return undefined;
  }
  const names = members.map(({ name }) => name).join(', ');
  const text = { up: 'killed', frozen: 'frozen', isolated: 'cut off from the others' }[ailment];
  return {
    kind,
    text: `etcd ${names} ${text}`,
    parts: ['store'],
    lastsMs: duration(random),
    begin: () => ail(world, members, ailment, true),
    end: () => ail(world, members, ailment, false),
  };
}

const member: FaultMaker = (world, random) =>
  memberFault(world, random, 'etcd-member', [random.pick(world.etcd.members)]);

/** Between two leaders: of any. */
const leader: FaultMaker = (world, random) =>
  memberFault(world, random, 'etcd-leader', [world.etcd.leader ?? random.pick(world.etcd.members)]);

const majorityLost: FaultMaker = (world, random) =>
  memberFault(world, random, 'etcd-majority', world.etcd.members.slice(0, random.pick([2, 3])));

const newLeader: FaultMaker = (world) => ({
  kind: 'etcd-election',
  text: 'etcd elects anew',
  parts: ['store'],
  lastsMs: 0,
  begin: () => world.etcd.depose(),
  end: () => {},
});

/** Many writes land long after whoever sent them gave up. */
const slow: FaultMaker = (world, random) => ({
  kind: 'etcd-slow',
  text: 'etcd takes up to 3 s for a write',
  parts: ['store'],
  lastsMs: duration(random),
  begin: () => {
    world.etcd.slow = true;
  },
  end: () => {
    world.etcd.slow = false;
  },
});

/** Of one host alone: its requests are carried out late, also long after it gave up. */
const lateRequests: FaultMaker = (world, random) => {
  const host = random.pick([...world.hosts.keys()]);
  return {
    kind: 'late-requests',
    text: `etcd takes up to 3 s for what ${host} asks`,
    parts: [`reach:${host}`],
    lastsMs: duration(random),
    begin: () => world.storeRoads.lateRequests.add(host),
    end: () => world.storeRoads.lateRequests.remove(host),
  };
};

/** It reads and writes, and hears of what others wrote up to a second later. */
const lateNews: FaultMaker = (world, random) => {
  const host = random.pick([...world.hosts.keys()]);
  return {
    kind: 'late-news',
    text: `${host} hears late of what is written to etcd`,
    parts: [`reach:${host}`],
    lastsMs: duration(random),
    begin: () => world.storeRoads.lateNews.add(host),
    end: () => world.storeRoads.lateNews.remove(host),
  };
};

const compaction: FaultMaker = (world) => ({
  kind: 'etcd-compaction',
  text: 'etcd compacted',
  parts: [],
  lastsMs: 0,
  begin: () => world.etcd.compact(),
  end: () => {},
});

const cutFromStore: FaultMaker = (world, random) => {
  const host = random.pick([...world.hosts.keys(), 'target']);
  return {
    kind: 'cut-from-store',
    text: `${host} cut off from etcd`,
    parts: [`reach:${host}`, ...(host === 'target' ? ['target'] : [])],
    lastsMs: duration(random),
    begin: () => world.storeRoads.cut.add(host),
    end: () => world.storeRoads.cut.remove(host),
  };
};

const cutFromDisks: FaultMaker = (world, random) => {
  const host = random.pick([...world.hosts.keys()]);
  return {
    kind: 'cut-from-disks',
    text: `${host} cut off from the iSCSI target`,
    parts: [`disk:${host}`],
    lastsMs: duration(random),
    begin: () => world.cutFromTarget(host),
    end: () => world.joinToTarget(host),
  };
};

const targetKilled: FaultMaker = (world, random) => ({
  kind: 'target-killed',
  text: 'understudy target killed',
  parts: ['target'],
  lastsMs: duration(random),
  begin: () => world.killTargetDaemon(),
  end: () => world.startTargetDaemon(),
});

const targetStopped: FaultMaker = (world, random) => {
  const process = world.targetDaemon;
  if (process === undefined) return undefined;
  const why = `fault ${random.next()}`;
  return {
    kind: 'target-stopped',
    text: 'understudy target stopped',
    parts: ['target'],
    lastsMs: duration(random),
    begin: () => process.stop(why),
    end: () => process.resume(why),
  };
};

const targetTrouble: FaultMaker = (world, random) => {
  const [failing, slowness] = random.pick([
    [0.5, 1],
    [0, 20],
  ] as const);
  return {
    kind: 'target-trouble',
    text: `masks fail (${failing}) or take ${slowness} times longer`,
    parts: ['target'],
    lastsMs: duration(random),
    begin: () => Object.assign(world.targetMood, { failing, slowness }),
    end: () => Object.assign(world.targetMood, { failing: 0, slowness: 1 }),
  };
};

export const storeFaults: Readonly<Record<string, FaultMaker>> = {
  'etcd-member': member,
  'etcd-leader': leader,
  'etcd-majority': majorityLost,
  'etcd-election': newLeader,
  'etcd-slow': slow,
  'late-requests': lateRequests,
  'late-news': lateNews,
  'etcd-compaction': compaction,
  'cut-from-store': cutFromStore,
  'cut-from-disks': cutFromDisks,
  'target-killed': targetKilled,
  'target-stopped': targetStopped,
  'target-trouble': targetTrouble,
};
