import type { Status } from '../control/status.js';
import type { Listening } from '../observe/observers.js';
import { initiatorName } from '../storage/types.js';
import { addressOf, fabricOf, isRefused, macOf, must, reaches, type Stage } from './stage.js';

/**
 * Claim 1a. One member of blue speaks in every way there is (unicast, broadcast, multicast, IPv6
 * neighbour discovery); captures stand at a member's LAN, to see that it was said, and at everybody
 * who must not hear it.
 */
export async function showIsolation(stage: Stage): Promise<void> {
  const { lab, claims, say, pace } = stage;
  const status = await stage.status();
  const ofBlue = `ether host ${macOf(status, 'web1')}`;
  const inside = lab.capture('c1', 'eth0', ofBlue);
  const outside = [
    { who: 'client c2 (green)', capture: lab.capture('c2', 'eth0', ofBlue) },
    { who: 'personality db1 (green)', capture: lab.capture('db1', 'eth0', ofBlue) },
    ...underlayOf(stage, status),
  ];
  const trunk = trunkOf(stage, ofBlue);
  const captures = [inside, ...outside.map(({ capture }) => capture), ...trunk];
  const stop = () => Promise.all(captures.map((capture) => capture.stop()));
  try {
    await Promise.all(captures.map(({ ready }) => ready));
    const fourth = await reaches(stage, 'web1', addressOf(status, 'web2'), 3);
    const sixth = ['ping', '-6', '-n', '-c', '1', '-W', String(2 * pace.echoSeconds)];
    const ran = await lab.exec('web1', [...sixth, 'fd00:10::12']);
    for (const argv of [
      ['-b', '-c', '2', '-i', '0.05', '10.10.0.255'],
      ['-c', '2', '-i', '0.05', '-I', 'eth0', '224.0.0.1'],
      ['-6', '-c', '1', 'ff02::1%eth0'],
      ['-6', '-c', '1', 'fd00:10::99'], // nobody has it: a solicitation to a multicast address
    ]) {
      await lab.exec('web1', ['ping', '-n', '-W', '1', ...argv]);
    }
    const foreign = await lab.exec('web1', ['ping', '-n', '-c', '1', '-W', '1', '10.20.0.11']);
    await stop();
    const reached = fourth && ran.code === 0;
    claims.observe(
      '1a',
      reached,
      `web1 reaches web2 over IPv4 and IPv6: ${reached ? 'yes' : 'no'}`,
    );
    const kinds = new Set(inside.frames.map(({ seen }) => kindOf(seen.destination)));
    const spoke = kinds.has('broadcast') && kinds.has('multicast');
    claims.observe(
      '1a',
      spoke,
      `on blue itself ${inside.frames.length} frames of web1 were captured (${[...kinds].sort().join(', ')})`,
    );
    const heard = outside.map(({ who, capture }) => `${who}: ${capture.frames.length}`);
    claims.observe(
      '1a',
      outside.every(({ capture }) => capture.frames.length === 0) && foreign.code !== 0,
      `frames of blue captured elsewhere: ${heard.join(', ')}`,
    );
    judgeTrunk(stage, trunk);
    say(
      `isolation   blue heard ${inside.frames.length} frames of web1; elsewhere ${heard.join(', ')}`,
    );
  } finally {
    await stop();
  }
}

/** On VXLAN a host that is no member is sent nothing. */
function underlayOf(
  stage: Stage,
  status: Status,
): readonly { readonly who: string; readonly capture: Listening }[] {
  const { lab } = stage;
  if (fabricOf(stage, 'blue') !== 'vxlan') return [];
  const outsider = status.hosts.find(
    ({ personalities, dispatches }) => personalities.length === 0 && dispatches.length === 0,
  );
  if (outsider === undefined) throw new Error('the demonstration needs a spare');
  // Edges are plain learning VTEPs that flood to every host; the product's own hosts must not.
  const edges = ['blue', 'green']
    .map((name) => `not src host ${lab.edge(name).underlay}`)
    .join(' and ');
  const capture = lab.capture(outsider.name, 'eth1', `udp port 4789 and ${edges}`);
  const who = `host ${outsider.name}, not a member, on its underlay from other hosts`;
  return [{ who, capture }];
}

/** On 802.1Q the switch floods to all: what keeps the LANs apart is the tag. */
function trunkOf(stage: Stage, filter: string): readonly Listening[] {
  if (fabricOf(stage, 'blue') !== 'vlan') return [];
  return stage.lab.ports.map(({ node, device }) => stage.lab.capture(node, device, filter));
}

function judgeTrunk({ claims, config, say }: Stage, trunk: readonly Listening[]): void {
  if (trunk.length === 0) return;
  const id = config.networks.find(({ name }) => name === 'blue')?.id;
  const tags = trunk.flatMap(({ frames }) => frames.map(({ seen }) => seen.vlan));
  const tagged = tags.filter((tag) => tag === id).length;
  const told = `${tagged} of ${tags.length} frames of web1 on the hosts' cables have 802.1Q tag ${id}`;
  claims.observe('1a', tags.length > 0 && tagged === tags.length, told);
  say(`tag         ${told}`);
}

function kindOf(destination: string): 'broadcast' | 'multicast' | 'unicast' {
  if (destination === 'ff:ff:ff:ff:ff:ff') return 'broadcast';
  return (Number.parseInt(destination.slice(0, 2), 16) & 1) === 1 ? 'multicast' : 'unicast';
}

/**
 * Claim 1b. What a personality writes to its virtual LUN is found in the file behind exactly the LUN
 * that the map names, and in no other; its host's login to another volume is refused by the target.
 */
export async function showDisks(stage: Stage): Promise<void> {
  const { lab, claims, config, say } = stage;
  const status = await stage.status();
  for (const { name, host, epoch, volumes } of status.personalities) {
    const [volume] = volumes;
    if (volume === undefined || host === null) throw new Error(`${name} has no volume in status`);
    const marker = `mark-of-${name}-${process.pid}`;
    const path = `${volume.mount}/marker`;
    await must(stage, name, ['sh', '-c', `echo ${marker} > ${path} && sync ${path}`]);
    await must(stage, name, [
      'sh',
      '-c',
      `echo ${name} > ${volume.mount}/name && sync ${volume.mount}/name`,
    ]);
    const found: string[] = [];
    for (const other of config.volumes) {
      const file = lab.backingFile(other.target, other.lun);
      const ran = await lab.exec('storage', ['grep', '-c', '-a', marker, file]);
      if (ran.code === 0) found.push(other.name);
    }
    const exact = found.length === 1 && found[0] === volume.name;
    claims.observe(
      '1b',
      exact,
      `${name} LUN ${volume.lun} = ${volume.portal} ${volume.target} LUN ${volume.targetLun}, its bytes are in ${found.join(', ') || 'no file'}`,
    );
    const stranger = config.volumes.find(({ name: other }) => other !== volume.name);
    if (stranger === undefined) continue;
    const initiator = initiatorName(config.cluster, name, host, epoch);
    const url = `iscsi://${volume.portal}/${stranger.target}/${stranger.lun}`;
    const refused = await isRefused(stage, host, initiator, url);
    const told = `its login to ${stranger.name} is ${refused ? '' : 'not '}refused`;
    claims.observe('1b', refused, told);
    say(
      `disk        ${name}: LUN ${volume.lun} is ${volume.target} LUN ${volume.targetLun} and no other`,
    );
  }
}
