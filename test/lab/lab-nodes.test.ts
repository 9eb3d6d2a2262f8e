import { once } from 'node:events';
import { test } from 'tap';
import { collect } from '../../src/lab/shell.js';
import { buildLab, pings, run, twoHosts } from './nodes.js';

test('nodes are on the networks they belong to', async (t) => {
  const lab = await buildLab(t);
  t.ok(await pings(lab, 'h1', '10.66.0.2'), 'host to host on the internal network');
  t.ok(await pings(lab, 'h1', '10.77.0.102'), 'host to host on the storage network');
  t.ok(await pings(lab, 'ctl', '10.66.0.1'), 'the control node reaches hosts');
  t.ok(await pings(lab, 'ctl', '10.66.255.1'), 'and etcd');
  t.ok(await pings(lab, 'c1', '10.10.0.201'), 'clients of one network meet');
  t.ok(await pings(lab, 'c1', 'fd00:10::201'), 'over IPv6 as well');
  const routed = await run(lab, 'c3', 'ping', '-n', '-c', '1', '-W', '1', '10.10.0.200');
  t.not(routed.code, 0, 'clients of another network do not');
  const mtu = await run(lab, 'h1', 'ping', '-n', '-M', 'do', '-s', '1550', '-c', '1', '10.66.0.2');
  t.equal(mtu.code, 0, 'the underlay carries 50 bytes more than a frame');
});

test('a host has its own name, processes, files, devices and bpffs', async (t) => {
  const lab = await buildLab(t);
  // The shell counts by itself: `ls` would complain of a process that ends meanwhile.
  const script = `hostname
ls /sys/class/net | tr '\\n' ' '; echo
set -- /proc/[0-9]*; echo $#
stat -f -c %T /sys/fs/bpf /run /etc/understudy /var/lib/understudy | tr '\\n' ' '; echo
stat -c %a /etc/understudy/cluster.key
test -w /sys/block && echo writable
mkdir /srv/made-by-host && ls -d /sys/fs/bpf/*/ 2> /dev/null | wc -l`;
  const { stdout, stderr } = await run(lab, 'h1', 'sh', '-c', script);
  t.equal(stderr, '');
  const [name, nics, processes, types, mode, writable, pins] = stdout.split('\n');
  t.equal(name, 'h1');
  t.equal(nics?.trim(), 'eth1 eth2 lo');
  t.ok(Number(processes) < 12, `${processes} processes`);
  t.equal(types?.trim(), 'bpf_fs tmpfs tmpfs tmpfs');
  t.equal(mode, '600');
  t.equal(writable, 'writable');
  t.equal(pins, '0');
  const outside = await run(lab, 'c1', 'ls', '/srv/made-by-host');
  t.not(outside.code, 0, 'what a host writes stays in the host');
  const keys = await Promise.all(
    ['h1', 'h2'].map((host) => run(lab, host, 'cat', '/etc/understudy/cluster.key')),
  );
  t.equal(keys[0]?.stdout, keys[1]?.stdout, 'one key for the cluster');
});

test('the lab keeps no mount of the machine in use', async (t) => {
  const lab = await buildLab(t);
  for (const node of ['ctl', 'h1']) {
    const { stdout } = await run(lab, node, 'cat', '/proc/self/mountinfo');
    const foreign = stdout
      .split('\n')
      .filter((line) => / - (nsfs|fuse|ext4|xfs|cgroup2?) /.test(line))
      .map((line) => line.split(' ')[4] ?? '')
      .filter((point) => !/^\/run\/netns\/[a-z0-9-]+$|^\/$|^\/run\/outer-state$/.test(point));
    t.strictSame(foreign, [], `in ${node}`);
  }
});

test('a host logs in to the target once it is let in', async (t) => {
  const lab = await buildLab(t);
  const url = 'iscsi://10.77.0.1/iqn.2026-11.example.lab:data/1';
  const login = ['iscsi-inq', '-i', 'iqn.2026-11.example:h1', url];
  const before = await run(lab, 'h1', ...login);
  t.not(before.code, 0, 'nobody is let in at first');
  const socket = `TGT_IPC_SOCKET=/run/understudy-lab/${lab.name}/tgt/socket`;
  const bind = 'tgtadm -C 1 --lld iscsi --op bind --mode target --tid 1 -Q iqn.2026-11.example:h1';
  const bound = await run(lab, 'storage', 'sh', '-c', `${socket} ${bind}`);
  t.equal(bound.code, 0, bound.stderr);
  const after = await run(lab, 'h1', ...login);
  t.equal(after.code, 0, after.stderr);
  const file = lab.backingFile('iqn.2026-11.example.lab:data', 1);
  const size = await run(lab, 'storage', 'stat', '-c', '%s', file);
  t.equal(size.stdout, `${16 * 1024 * 1024}\n`);
});

test('etcd elects a leader', async (t) => {
  const lab = await buildLab(t);
  const ask = `for try in $(seq 200); do
  if curl -s --max-time 1 http://10.66.255.1:2379/health | grep -q '"health":"true"'; then exit 0; fi
  sleep 0.05
done
exit 1`;
  t.equal((await run(lab, 'ctl', 'bash', '-c', ask)).code, 0);
});

test('exec hands on streams, exit code and signals', async (t) => {
  const lab = await buildLab(t);
  for (const node of ['h1', 'c1']) {
    const ended = await run(lab, node, 'sh', '-c', 'echo out; echo err >&2; exit 7');
    t.strictSame(ended, { code: 7, stdout: 'out\n', stderr: 'err\n' }, node);
    const child = lab.spawn(lab.command(node, ['cat']), { stdio: ['pipe', 'pipe', 'pipe'] });
    const echoed = await collect(child, 'through standard input');
    t.equal(echoed.stdout, 'through standard input');
    const trap = "trap 'echo asked; exit 3' INT; echo up; while :; do sleep 0.01; done";
    const patient = lab.spawn(lab.command(node, ['bash', '-c', trap]));
    const output: Buffer[] = [];
    patient.stdout?.on('data', (chunk: Buffer) => output.push(chunk));
    await once(patient.stdout as NodeJS.ReadableStream, 'data');
    patient.kill('SIGINT');
    const [code] = (await once(patient, 'close')) as [number | null];
    t.equal(code, 3, 'its own answer to the signal');
    t.equal(Buffer.concat(output).toString(), 'up\nasked\n');
  }
  const inNamespace = await run(lab, 'c1', 'sh', '-c', 'test -d /proc/$$');
  t.equal(inNamespace.code, 0, 'a client’s command is in the lab’s PID namespace');
  t.throws(() => lab.command('nobody', ['true']), { code: 'US_LAB_NODE' });
});

test('an edge learns where a MAC is, and floods no unknown unicast', async (t) => {
  const lab = await buildLab(t);
  const flags = await run(lab, 'edge-blue', 'bridge', '-json', '-details', 'link', 'show');
  const ports = JSON.parse(flags.stdout) as readonly {
    ifname: string;
    flood: boolean;
    learning: boolean;
    bcast_flood: boolean;
    mcast_flood: boolean;
  }[];
  t.strictSame(ports.map(({ ifname }) => ifname).sort(), ['client0', 'client1', 'lan']);
  for (const { flood, learning, bcast_flood, mcast_flood } of ports) {
    t.strictSame([flood, learning, bcast_flood, mcast_flood], [false, true, true, true]);
  }
  const entries = await run(lab, 'edge-blue', 'bridge', 'fdb', 'show', 'dev', 'lan');
  const flooded = entries.stdout.match(/^00:00:00:00:00:00 dst (\S+)/gm);
  t.strictSame(flooded?.sort(), [
    '00:00:00:00:00:00 dst 10.66.0.1',
    '00:00:00:00:00:00 dst 10.66.0.2',
  ]);
  const gateways = lab.plan.config.networks.find(({ name }) => name === 'blue')?.gateways;
  t.strictSame(gateways, ['10.66.254.1'], 'and the product knows the edge');
});

test('the daemons of a host start again after they end', async (t) => {
  const agent = ['sh', '-c', 'echo started; exec sleep 0.01', 'agent'];
  const idle = ['sh', '-c', 'exec sleep infinity', 'idle'];
  const lab = await buildLab(t, twoHosts, { programs: { agent, pulse: idle } });
  const follow = lab.spawn(
    lab.command('ctl', ['tail', '-f', `/run/understudy-lab/${lab.name}/logs/h1-agent.log`]),
  );
  let said = '';
  await new Promise<void>((resolve) => {
    follow.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.split('started').length > 2) resolve();
    });
  });
  follow.kill('SIGKILL');
  t.pass('twice');
});
