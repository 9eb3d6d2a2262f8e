import tap, { test } from 'tap';
import { must, personality } from '../../src/demo/stage.js';
import { PingWatch } from '../../src/observe/observers.js';
import { untilSpare } from '../lab/harness.js';
import {
  applyWorkload,
  nextVersion,
  openSystemdLab,
  page,
  runsAs,
  type SystemdLab,
  systemdMissing,
} from './harness.js';
import { listFiles } from './package.js';
import { checkRanks } from './ranks.js';

const missing = systemdMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(200_000);

const agent = 'understudy-agent';
const pulse = 'understudy-pulse';

test('hosts that systemd runs', options, async (t) => {
  const world = await openSystemdLab(t, 'units');
  const { stage, shell, property, untilProperty } = world;
  const hosts = ['h1', 'h2', 'h3'];
  const now = async () => personality(await stage.status(), 'web-1');
  await stage.lab.exec('web-1', ['sh', '-c', 'echo kept > /srv/www/index.html; sync -f /srv/www']);
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  t.teardown(() => ping.stop());
  await ping.answerAfter(Date.now(), 10_000);

  await t.test('units are up and ready, pulse before the agent, secrets are secret', async (t) => {
    for (const host of hosts) {
      for (const unit of [pulse, agent]) {
        t.equal(await property(host, unit, 'ActiveState'), 'active', `${unit} on ${host}`);
        t.equal(await property(host, unit, 'NRestarts'), '0');
        const limits = await shell(
          host,
          `cat /proc/${await property(host, unit, 'MainPID')}/limits`,
        );
        t.match(limits, /^Max core file size +0 /m, `${unit} leaves no core`);
      }
      const ready = Number(await property(host, pulse, 'ActiveEnterTimestampMonotonic'));
      const begun = Number(await property(host, agent, 'InactiveExitTimestampMonotonic'));
      t.ok(ready <= begun, 'pulse was ready first');
      t.equal(await shell(host, 'systemctl --failed --no-legend'), '');
      const files = '/etc/understudy/cluster.key /run/understudy/pulse.sock';
      t.equal(await shell(host, `stat -c '%a %U' ${files}`), '600 root\n600 root\n');
    }
  });

  await t.test('the package is upgraded: not one ping is lost', async (t) => {
    const before = await now();
    const sinceMs = Date.now();
    for (const host of hosts) {
      const processes = [
        await property(host, pulse, 'MainPID'),
        await property(host, agent, 'MainPID'),
      ];
      await shell(host, `dpkg --no-triggers -i /opt/packages/understudy_${nextVersion}_*.deb`);
      t.equal(await property(host, agent, 'ActiveState'), 'active');
      t.equal(await property(host, pulse, 'MainPID'), processes[0], 'pulse goes on as it was');
      t.not(await property(host, agent, 'MainPID'), processes[1], 'the agent is the new one');
      t.equal(await shell(host, 'understudy --version'), `${nextVersion}\n`);
    }
    const after = await now();
    t.same([after.host, after.epoch], [before.host, before.epoch], 'same host, same epoch');
    await ping.answerAfter(Date.now(), 5_000);
    t.equal(ping.lostAfter(sinceMs), 0, 'not one ping is lost');
  });

  await t.test(
    'pulse is restarted by understudy pulse-restart: not one ping is lost',
    async (t) => {
      const { host, epoch } = await now();
      const sinceMs = Date.now();
      const old = await property(host ?? '', pulse, 'MainPID');
      await shell(host ?? '', 'understudy pulse-restart');
      t.not(await property(host ?? '', pulse, 'MainPID'), old);
      await ping.answerAfter(Date.now(), 5_000);
      t.equal(ping.lostAfter(sinceMs), 0);
      const after = await now();
      t.same([after.host, after.epoch], [host, epoch]);
    },
  );

  await t.test('priorities and limits are in force', async (t) => {
    const { host } = await now();
    await checkRanks(t, world, host ?? '');
  });

  const watchdog = (async () => {
    const { host } = await now();
    const other = hosts.find((name) => name !== host) ?? '';
    await shell(other, `kill -STOP $(systemctl show -P MainPID ${agent})`);
    await untilProperty(other, agent, 'NRestarts', '1');
    await untilProperty(other, agent, 'ActiveState', 'active');
  })();
  watchdog.catch(() => undefined);

  await t.test('restart, SIGKILL and stop of the agent: not one ping is lost', async (t) => {
    const before = await now();
    const host = before.host ?? '';
    const pulseProcess = await property(host, pulse, 'MainPID');
    const sinceMs = Date.now();
    await shell(host, `systemctl restart ${agent}`);
    await shell(host, `systemctl kill -s SIGKILL ${agent}`);
    await untilProperty(host, agent, 'NRestarts', '1');
    await untilProperty(host, agent, 'ActiveState', 'active');
    await shell(host, `systemctl stop ${agent}`);
    t.equal(await page(world), 'kept\n', 'its disk and workload go on without an agent');
    await shell(host, `systemctl start ${agent}`);
    const after = await now();
    t.same([after.host, after.epoch], [host, before.epoch], 'same host, same epoch');
    t.equal(await property(host, pulse, 'MainPID'), pulseProcess, 'pulse was left alone');
    await ping.answerAfter(Date.now(), 5_000);
    t.equal(ping.lostAfter(sinceMs), 0, 'not one ping is lost');
  });

  await t.test('an agent that hangs is started anew', async (t) => {
    // Whoever is stopped cannot end by itself: the watchdog did it.
    await watchdog;
    t.pass('systemd killed it and started another');
  });

  await t.test('a unit as workload: in the personality, nowhere else', async (t) => {
    const { epoch } = await now();
    await applyWorkload(world, { kind: 'unit', unit: 'shop@web1.service' });
    await runsAs(world, epoch);
    const { host } = await now();
    await untilProperty(host ?? '', 'shop@web1', 'ActiveState', 'active');
    t.equal(await page(world), 'kept\n', 'it serves from the LUN, on the personality’s address');
    const other = hosts.find((name) => name !== host) ?? '';
    await untilProperty(other, 'shop@web1', 'NetworkNamespacePath', '/run/netns/us-web-1');
    const { code } = await stage.lab.exec(other, ['systemctl', 'is-active', 'shop@web1']);
    t.not(code, 0);
  });

  await t.test('SIGKILL of pulse: systemd starts it, its host is failed over', async (t) => {
    const before = await now();
    const host = before.host ?? '';
    const agentProcess = await property(host, agent, 'MainPID');
    await shell(host, `systemctl kill -s SIGKILL ${pulse}`);
    t.not(await runsAs(world, before.epoch + 1), host);
    t.equal(await page(world), 'kept\n', 'the unit runs at the new owner');
    await untilProperty(host, pulse, 'ActiveState', 'active');
    t.equal(await property(host, pulse, 'NRestarts'), '1');
    t.equal(await property(host, agent, 'MainPID'), agentProcess, 'the agent was left alone');
    await untilProperty(host, 'shop@web1', 'ActiveState', 'inactive');
    // Outside of its personality it does not start.
    await t.rejects(shell(host, 'systemctl start shop@web1'));
    await stage.until(
      `${host} is a spare again`,
      (status) => status.hosts.some(({ name, state }) => name === host && state === 'up'),
      20_000,
    );
  });

  await t.test('the package is removed in good order, and purged without a trace', async (t) => {
    const before = await now();
    const host = before.host ?? '';
    await shell(host, 'dpkg --no-triggers --remove understudy');
    t.not(await runsAs(world, before.epoch + 1), host, 'what was there is failed over');
    t.equal(await page(world), 'kept\n', 'with all that was written');
    t.equal(await shell(host, 'systemctl --failed --no-legend'), '');
    t.equal(await shell(host, 'ls /etc/understudy'), 'agent.yaml\ncluster.key\n', 'its files stay');
    const promises = '/run/understudy/pulse.sock.promises\n';
    t.equal(
      await leftovers(world, host),
      promises,
      'nothing is left but what a controller promised',
    );

    await shell(host, 'dpkg --no-triggers --purge understudy');
    await shell(host, listFiles('/opt/packages/after'));
    const changed = 'diff /opt/packages/before /opt/packages/after || true';
    const lines = (await shell(host, changed)).split('\n').filter((line) => /^[<>]/.test(line));
    t.strictSame(lines, [], 'files are as before the package came');

    const { incarnation = 0 } =
      (await stage.status()).hosts.find(({ name }) => name === host) ?? {};
    await shell(host, '. /opt/packages/install.sh');
    await untilSpare(stage, host, incarnation);
  });

  await t.test(
    'power off in good order: what was not synced is written, then it is taken over',
    async (t) => {
      const before = await now();
      await must(stage, 'web-1', ['sh', '-c', 'echo late > /srv/shop/late']);
      await shell(before.host ?? '', 'systemctl poweroff');
      t.not(await runsAs(world, before.epoch + 1), before.host);
      t.equal(await must(stage, 'web-1', ['cat', '/srv/shop/late']), 'late\n');
    },
  );
});

/** Processes, mounts, namespaces, devices, pins and folders of ours in the running system. */
function leftovers({ shell }: SystemdLab, host: string): Promise<string> {
  return shell(
    host,
    `systemctl list-units --no-legend --plain 'understudy-*' 'shop@*'
    pgrep -a 'node|qemu' || true
    pgrep -a busybox || true
    grep -e ' /run/understudy' -e ' /run/netns/us' /proc/mounts || true
    ls -d /run/netns/us* /run/understudy/* /sys/fs/bpf/understudy 2> /dev/null || true
    ip -o link | grep -e vxlan -e macvlan -e us- || true`,
  );
}
