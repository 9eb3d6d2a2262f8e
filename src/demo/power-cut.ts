import type { Status } from '../control/status.js';
import type { Timeline } from '../control/timeline.js';
import { bootMs } from '../ffi/clock.js';
import { HttpWatch, type Listening, PingWatch } from '../observe/observers.js';
import { initiatorName } from '../storage/types.js';
import {
  addressOf,
  fabricOf,
  isRefused,
  macOf,
  must,
  personality,
  reaches,
  type Stage,
  type Wire,
} from './stage.js';

export interface PowerCut {
  readonly gapMs: number;
  readonly httpGapMs: number | undefined;
  readonly failedHost: string;
  readonly lostEpoch: number;
  readonly record: Timeline;
}

/**
 * Claims 1c, 2, 3, 4, 5, 6: the host of web1 loses power. Clients ping and read a file of the LUN all
 * the while; a capture stands at the client, and who sends is watched at the switch.
 */
export async function showPowerCut(stage: Stage): Promise<PowerCut> {
  const { lab, say, pace } = stage;
  const { takeoverMs } = pace;
  const before = await stage.status();
  const { host: failedHost, epoch } = personality(before, 'web1');
  if (failedHost === null) throw new Error('web1 has no host');
  const mac = macOf(before, 'web1');
  const address = addressOf(before, 'web1');
  const atClient = lab.capture('c1', 'eth0', `ether host ${mac}`);
  const wire = lab.watchWire();
  const ping = new PingWatch(lab, 'c1', address, pace.pingEveryMs);
  const http = new HttpWatch(lab, 'c1', `http://${address}/name`, 'web1', pace.http);
  const other = new PingWatch(lab, 'c2', addressOf(before, 'db1'), pace.pingEveryMs);
  try {
    await atClient.ready;
    const startedMs = Date.now() - 1;
    for (const watch of [ping, http, other]) await watch.answerAfter(startedMs, takeoverMs);
    await must(stage, 'web1', ['sh', '-c', 'echo kept > /srv/www/kept && sync /srv/www/kept']);
    await must(stage, 'web1', ['sh', '-c', 'echo lost > /srv/www/lost']);
    const cutMs = Date.now();
    await lab.kill(failedHost);
    const killedMs = Date.now();
    const killedBootMs = bootMs();
    say(`power cut   ${failedHost}, which was web1`);
    await ping.answerAfter(killedMs, takeoverMs);
    await http.answerAfter(killedMs, takeoverMs);
    const record = await stage.failover('web1', epoch + 1, takeoverMs);
    const after = await stage.until(
      'web1 runs on its replacement',
      (status) => personality(status, 'web1').phase === 'running',
      takeoverMs,
    );
    const gapMs = Math.round(ping.longestGapMs(cutMs) ?? Number.NaN);
    const httpGapMs = http.longestGapMs(cutMs);
    say(`gap         ${gapMs} ms for ping, ${Math.round(httpGapMs ?? Number.NaN)} ms for HTTP`);
    judgeWire(stage, {
      before,
      after,
      failedHost,
      mac,
      address,
      cutMs,
      killedMs,
      killedBootMs,
      atClient,
      wire,
    });
    await judgeDisk(stage, after);
    await judgePaths(stage, after);
    judgeOthers(stage, before, after, failedHost, other.lostAfter(cutMs));
    judgeRecord(stage, record);
    return { gapMs, httpGapMs, failedHost, lostEpoch: epoch, record };
  } finally {
    wire.stop();
    await Promise.all([atClient, ping, http, other].map((observer) => observer.stop()));
  }
}

/** Same vMAC and address from another host, announced; observed on the wire. */
function judgeWire(
  { claims, say }: Stage,
  seen: {
    before: Status;
    after: Status;
    failedHost: string;
    mac: string;
    address: string;
    cutMs: number;
    killedMs: number;
    killedBootMs: number;
    atClient: Listening;
    wire: Wire;
  },
): void {
  const { after, failedHost, mac, address, killedMs, atClient, wire } = seen;
  const host = personality(after, 'web1').host ?? '';
  const answers = atClient.frames.filter(
    (one) => one.atMs > killedMs && one.seen.source === mac && one.seen.ip?.source === address,
  );
  const sources = wire.senders(mac, seen.killedBootMs);
  const onlyNew = sources.size === 1 && sources.has(host);
  claims.observe(
    '1c',
    host !== failedHost && answers.length > 0 && onlyNew,
    `after the cut ${answers.length} replies with ${mac} and ${address}, from the cable of ${[...sources.keys()].join(', ') || 'nobody'}`,
  );
  const announced = atClient.frames.filter(
    (one) =>
      one.atMs > seen.cutMs &&
      one.seen.source === mac &&
      one.seen.destination === 'ff:ff:ff:ff:ff:ff' &&
      one.seen.arp?.senderMac === mac &&
      one.seen.arp.senderIp === address &&
      one.seen.arp.targetIp === address,
  );
  const forms = new Set(announced.map((one) => one.seen.arp?.operation));
  claims.observe(
    '+',
    forms.has('request') && forms.has('reply'),
    `the client captured ${announced.length} gratuitous ARP from ${mac} (${[...forms].sort().join(', ')})`,
  );
  say(
    `identity    ${mac} ${address} now comes from ${host}; ${announced.length} announcements captured`,
  );
}

/** What was synced is there, what was not is gone: it was a power cut, and it is the same disk. */
async function judgeDisk(stage: Stage, after: Status): Promise<void> {
  const { lab, claims, say } = stage;
  const kept = await lab.exec('web1', ['cat', '/srv/www/kept', '/srv/www/name']);
  // Its name may have got to the disk by itself in the meantime, with what the journal writes each 5 s.
  const look = 'if grep -q lost /srv/www/lost 2> /dev/null; then echo there; else echo missing; fi';
  const lost = (await must(stage, 'web1', ['sh', '-c', look])).trim();
  const same = kept.code === 0 && kept.stdout === 'kept\nweb1\n';
  claims.observe('3', same, `the file synced before the cut is ${same ? 'there' : 'missing'}`);
  claims.observe(
    '1c',
    lost === 'missing',
    `what was written without sync just before is ${lost}${lost === 'missing' ? '' : ': it was no power cut'}`,
  );
  const { volumes, interfaces } = personality(after, 'web1');
  const exact = volumes[0]?.name === 'web1-data' && interfaces[0]?.network === 'blue';
  claims.observe('3', exact, `network ${interfaces[0]?.network}, LUN 0 ${volumes[0]?.target}`);
  say(`data        synced file ${same ? 'there' : 'MISSING'}, unsynced one ${lost}`);
}

/** Every survivor of a network reaches the new host; on VXLAN by an entry for the vMAC that points at it. */
async function judgePaths(stage: Stage, after: Status): Promise<void> {
  const { claims, say } = stage;
  const { host, interfaces } = personality(after, 'web1');
  const owner = host ?? '';
  let entries = 0;
  for (const { network, mac, addresses } of interfaces) {
    const survivors = after.personalities.filter(
      (one) =>
        one.name !== 'web1' &&
        one.host !== owner &&
        one.interfaces.some((other) => other.network === network),
    );
    for (const survivor of new Set(survivors.map((one) => one.host ?? ''))) {
      if (fabricOf(stage, network) !== 'vxlan') continue;
      await judgeEntry(stage, survivor, owner, network, mac);
      entries++;
    }
    const address = addresses[0]?.split('/')[0] ?? '';
    for (const { name } of survivors) {
      const reached = await reaches(stage, name, address);
      const told = `${name} reaches web1 on ${owner} by ${network}: ${reached ? 'yes' : 'no'}`;
      claims.observe('2', reached, told);
      say(`paths       ${told}`);
    }
  }
  if (entries > 0) return;
  claims.observe('5', false, 'cannot be shown: on 802.1Q it is the switch that finds the vMAC');
}

async function judgeEntry(
  stage: Stage,
  survivor: string,
  owner: string,
  network: string,
  mac: string,
): Promise<void> {
  const { lab, claims, say } = stage;
  const via = lab.underlayAddress(owner);
  const argv = ['nsenter', `--net=/run/netns/usn-${network}`, 'bridge', 'fdb', 'show'];
  const told = await must(stage, survivor, argv);
  const entries = told.split('\n').filter((line) => line.startsWith(mac));
  const exact = entries.length === 1 && entries[0]?.includes(`dst ${via} `) === true;
  const learned = entries.some((line) => !line.includes('permanent'));
  claims.observe(
    '5',
    exact && !learned,
    `${survivor}: ${mac} of ${network} via ${exact ? via : entries.join(' | ')}, static`,
  );
  say(`paths       ${survivor} sends ${mac} of ${network} to ${owner}`);
}

function judgeOthers(
  { claims, say }: Stage,
  before: Status,
  after: Status,
  failedHost: string,
  lost: number,
): void {
  const same = (name: string) => {
    const [old, now] = [personality(before, name), personality(after, name)];
    return old.host === failedHost || (old.host === now.host && old.epoch === now.epoch);
  };
  const undisturbed = same('db1') && same('web2');
  claims.observe('6', undisturbed, 'web2 and db1 keep host and epoch');
  claims.observe('6', lost === 0, `pings of db1 on green lost meanwhile: ${lost}`);
  say(`others      db1 on green: ${lost} pings lost`);
}

function judgeRecord({ claims, say }: Stage, record: Timeline): void {
  const first = new Map<string, number>();
  for (const { name, startMs } of record.steps) if (!first.has(name)) first.set(name, startMs);
  const order = ['detect', 'decide', 'fence', 'storage', 'announce', 'verify'];
  const times = order.map((name) => first.get(name));
  const inOrder = times.every(
    (time, index) => time !== undefined && (index === 0 || time >= (times[index - 1] ?? 0)),
  );
  claims.observe(
    '4',
    inOrder && record.outcome === 'ok' && record.verifiedBy !== null,
    `${record.id}: ${record.steps.map(({ name, startMs, endMs }) => `${name} ${startMs}–${endMs}`).join(', ')} ms; verified by ${record.verifiedBy}`,
  );
  for (const { name, startMs, endMs, host, ok, detail } of record.steps) {
    const span = `${startMs.toFixed(0).padStart(5)} – ${endMs.toFixed(0).padStart(5)} ms`;
    say(`  ${name.padEnd(9)} ${span}  ${host}${ok ? '' : '  FAILED'}  ${detail}`);
  }
}

/**
 * Claim 1c, second half: the failed host gets power again. It comes back under a new incarnation with
 * nothing on it; not one frame with the vMAC comes from it, and the target refuses its old name.
 */
export async function showReturn(
  stage: Stage,
  failedHost: string,
  lostEpoch: number,
): Promise<void> {
  const { lab, claims, config, say, pace } = stage;
  const before = await stage.status();
  const incarnation = before.hosts.find(({ name }) => name === failedHost)?.incarnation ?? 0;
  const mac = macOf(before, 'web1');
  const wire = lab.watchWire();
  try {
    await lab.start(failedHost);
    const after = await stage.until(
      `${failedHost} is back`,
      ({ hosts }) =>
        hosts.some(
          ({ name, state, incarnation: now, controller, granting }) =>
            name === failedHost &&
            state === 'up' &&
            now > incarnation &&
            // The next host that fails may be the second of three controllers.
            granting === controller,
        ),
      pace.returnMs,
    );
    const back = after.hosts.find(({ name }) => name === failedHost);
    claims.observe(
      '1c',
      back?.personalities.length === 0,
      `${failedHost} is back as incarnation ${back?.incarnation} with ${back?.personalities.length} personalities`,
    );
    const [volume] = personality(after, 'web1').volumes;
    const initiator = initiatorName(config.cluster, 'web1', failedHost, lostEpoch);
    const url = `iscsi://${volume?.portal}/${volume?.target}/${volume?.targetLun}`;
    const refused = await isRefused(stage, failedHost, initiator, url);
    const told = `the target refuses the name it had as web1: ${refused ? 'yes' : 'no'}`;
    claims.observe('1c', refused, told);
    // A watch that sees nobody would find none of its frames, too: it has to see those of the new host.
    await reaches(stage, 'c1', addressOf(after, 'web1'));
    const senders = wire.senders(mac);
    const frames = senders.get(failedHost) ?? 0;
    const others = senders.get(personality(after, 'web1').host ?? '') ?? 0;
    claims.observe(
      '1c',
      frames === 0 && others > 0,
      `frames with ${mac} meanwhile: ${frames} from ${failedHost}, ${others} from the new host`,
    );
    say(
      `return      ${failedHost} is a spare again, incarnation ${back?.incarnation}; it sent ${frames} frames as web1`,
    );
  } finally {
    wire.stop();
  }
}
