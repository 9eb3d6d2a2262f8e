import type { Status } from '../control/status.js';
import type { Timeline } from '../control/timeline.js';
import { Capture, HttpWatch, PingWatch } from '../observe/observers.js';
import { initiatorName } from '../storage/types.js';
import { addressOf, isRefused, macOf, must, personality, type Stage } from './stage.js';

export interface PowerCut {
  readonly gapMs: number;
  readonly httpGapMs: number | undefined;
  readonly failedHost: string;
  readonly lostEpoch: number;
  readonly record: Timeline;
}

const takeoverTimeoutMs = 15_000;

/**
 * Claims 1c, 2, 3, 4, 5, 6: the host of web1 loses power. Clients ping and read a file of the LUN all
 * the while; captures stand at the client and on the underlay of its edge.
 */
export async function showPowerCut(stage: Stage): Promise<PowerCut> {
  const { lab, say } = stage;
  const before = await stage.status();
  const { host: failedHost, epoch } = personality(before, 'web1');
  if (failedHost === null) throw new Error('web1 has no host');
  const mac = macOf(before, 'web1');
  const address = addressOf(before, 'web1');
  const edge = lab.edge('blue');
  const atClient = new Capture(lab, 'c1', 'eth0', `ether host ${mac}`);
  const atEdge = new Capture(lab, edge.node, edge.device, 'udp port 4789');
  const ping = new PingWatch(lab, 'c1', address);
  const http = new HttpWatch(lab, 'c1', `http://${address}/name`, 'web1');
  const other = new PingWatch(lab, 'c2', addressOf(before, 'db1'));
  try {
    await Promise.all([atClient.ready, atEdge.ready]);
    const startedMs = Date.now() - 1;
    for (const watch of [ping, http, other]) await watch.answerAfter(startedMs, takeoverTimeoutMs);
    await must(stage, 'web1', ['sh', '-c', 'echo kept > /srv/www/kept && sync /srv/www/kept']);
    await must(stage, 'web1', ['sh', '-c', 'echo lost > /srv/www/lost']);
    const cutMs = Date.now();
    await lab.kill(failedHost);
    const killedMs = Date.now();
    say(`power cut   ${failedHost}, which was web1`);
    await ping.answerAfter(killedMs, takeoverTimeoutMs);
    await http.answerAfter(killedMs, takeoverTimeoutMs);
    const record = await stage.failover('web1', epoch + 1, takeoverTimeoutMs);
    const after = await stage.until(
      'web1 runs on its replacement',
      (status) => personality(status, 'web1').phase === 'running',
      takeoverTimeoutMs,
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
      atClient,
      atEdge,
    });
    await judgeDisk(stage, after);
    await judgePaths(stage, after, mac);
    judgeOthers(stage, before, after, failedHost, other.lostAfter(cutMs));
    judgeRecord(stage, record);
    return { gapMs, httpGapMs, failedHost, lostEpoch: epoch, record };
  } finally {
    await Promise.all([atClient, atEdge, ping, http, other].map((observer) => observer.stop()));
  }
}

/** Same vMAC and address from another host, announced; observed on the wire. */
function judgeWire(
  { claims, lab, say }: Stage,
  seen: {
    before: Status;
    after: Status;
    failedHost: string;
    mac: string;
    address: string;
    cutMs: number;
    killedMs: number;
    atClient: Capture;
    atEdge: Capture;
  },
): void {
  const { after, failedHost, mac, address, killedMs, atClient, atEdge } = seen;
  const host = personality(after, 'web1').host ?? '';
  const answers = atClient.frames.filter(
    (one) => one.atMs > killedMs && one.seen.source === mac && one.seen.ip?.source === address,
  );
  const sources = new Set(
    atEdge.frames
      .filter(({ atMs, seen: outer }) => atMs > killedMs && outer.vxlan?.inner.source === mac)
      .map(({ seen: outer }) => outer.ip?.source ?? ''),
  );
  const onlyNew = sources.size === 1 && sources.has(lab.underlayAddress(host));
  claims.observe(
    '1c',
    host !== failedHost && answers.length > 0 && onlyNew,
    `after the cut ${answers.length} replies with ${mac} and ${address}, all from ${host}`,
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
  const lost = await lab.exec('web1', ['test', '-e', '/srv/www/lost']);
  const same = kept.code === 0 && kept.stdout === 'kept\nweb1\n';
  claims.observe('3', same, `the file synced before the cut is ${same ? 'there' : 'missing'}`);
  claims.observe(
    '1c',
    lost.code !== 0,
    `the file written without sync just before is ${lost.code === 0 ? 'there: it was no power cut' : 'missing'}`,
  );
  const { volumes, interfaces } = personality(after, 'web1');
  const exact = volumes[0]?.name === 'web1-data' && interfaces[0]?.network === 'blue';
  claims.observe('3', exact, `network ${interfaces[0]?.network}, LUN 0 ${volumes[0]?.target}`);
  say(
    `data        synced file ${same ? 'there' : 'MISSING'}, unsynced one ${lost.code === 0 ? 'THERE' : 'gone'}`,
  );
}

/** Every survivor of the network has an entry for the vMAC that points at the new host. */
async function judgePaths(stage: Stage, after: Status, mac: string): Promise<void> {
  const { lab, claims, say } = stage;
  const owner = personality(after, 'web1').host ?? '';
  const via = lab.underlayAddress(owner);
  const survivors = new Set(
    after.personalities
      .filter(
        ({ name, host, interfaces }) =>
          name !== 'web1' && host !== owner && interfaces[0]?.network === 'blue',
      )
      .map(({ host }) => host ?? ''),
  );
  for (const host of survivors) {
    const argv = ['nsenter', '--net=/run/netns/usn-blue', 'bridge', 'fdb', 'show'];
    const entries = (await must(stage, host, argv))
      .split('\n')
      .filter((line) => line.startsWith(mac));
    const exact = entries.length === 1 && entries[0]?.includes(`dst ${via} `) === true;
    const learned = entries.some((line) => !line.includes('permanent'));
    claims.observe(
      '5',
      exact && !learned,
      `${host}: ${mac} via ${exact ? via : entries.join(' | ')}, static`,
    );
  }
  const ran = await lab.exec('web2', [
    'ping',
    '-n',
    '-c',
    '2',
    '-i',
    '0.05',
    '-W',
    '1',
    addressOf(after, 'web1'),
  ]);
  claims.observe(
    '2',
    ran.code === 0,
    `web2 reaches web1 on ${owner}: ${ran.code === 0 ? 'yes' : 'no'}`,
  );
  say(`paths       ${[...survivors].join(', ')} send ${mac} to ${owner}`);
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

const returnTimeoutMs = 20_000;

/**
 * Claim 1c, second half: the failed host gets power again. It comes back under a new incarnation with
 * nothing on it; not one frame with the vMAC comes from it, and the target refuses its old name.
 */
export async function showReturn(
  stage: Stage,
  failedHost: string,
  lostEpoch: number,
): Promise<void> {
  const { lab, claims, config, say } = stage;
  const before = await stage.status();
  const incarnation = before.hosts.find(({ name }) => name === failedHost)?.incarnation ?? 0;
  const mac = macOf(before, 'web1');
  const edge = lab.edge('blue');
  const atEdge = new Capture(lab, edge.node, edge.device, 'udp port 4789');
  try {
    await atEdge.ready;
    await lab.start(failedHost);
    const after = await stage.until(
      `${failedHost} is back`,
      ({ hosts }) =>
        hosts.some(
          (host) =>
            host.name === failedHost && host.state === 'up' && host.incarnation > incarnation,
        ),
      returnTimeoutMs,
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
    const frames = atEdge.frames.filter(
      ({ seen }) =>
        seen.ip?.source === lab.underlayAddress(failedHost) && seen.vxlan?.inner.source === mac,
    );
    claims.observe(
      '1c',
      frames.length === 0,
      `frames with ${mac} from ${failedHost}: ${frames.length}`,
    );
    say(
      `return      ${failedHost} is a spare again, incarnation ${back?.incarnation}; it sent ${frames.length} frames as web1`,
    );
  } finally {
    await atEdge.stop();
  }
}
