import { Lab } from '../../src/lab/lab.js';
import { kernelFeatures } from '../../src/lab/requirements.js';
import { parsed, twoHosts } from '../lab/nodes.js';

/**
 * Runs in a guest: a lab with fabric vlan. Hosts carry the VLAN as the product does, a client hangs
 * behind an edge on the trunk. Prints one line for each thing seen; exit code 0 when all was.
 */
const { config, lab: section } = parsed(twoHosts.replaceAll('fabric: vxlan', 'fabric: auto'));
const idle = ['sh', '-c', 'exec sleep infinity', 'idle'];

let failed = 0;
function see(what: string, seen: boolean): void {
  console.log(`${seen ? 'seen' : 'NOT SEEN'}: ${what}`);
  if (!seen) failed += 1;
}

see('the kernel has 802.1Q', kernelFeatures(config).vlan);
const lab = await Lab.build({
  name: 'vlan',
  config,
  lab: section,
  signal: new AbortController().signal,
  say: (line) => console.log(line),
  programs: { agent: idle, pulse: idle, target: idle },
});
try {
  const run = async (node: string, ...argv: readonly string[]) => {
    const ran = await lab.exec(lab.command(node, argv));
    if (ran.code !== 0) console.log(`${node}: ${argv.join(' ')}: ${ran.stdout}${ran.stderr}`);
    return ran.code === 0;
  };
  const pings = (node: string, address: string) =>
    run(node, 'ping', '-n', '-c', '1', '-W', '5', address);
  see(
    'auto became vlan',
    lab.plan.config.networks.every(({ fabric }) => fabric === 'vlan'),
  );
  for (const [host, address] of [
    ['h1', '10.10.0.11/24'],
    ['h2', '10.10.0.12/24'],
  ] as const) {
    const script = `ip link add link eth1 name blue type vlan id 100 && ip addr add ${address} dev blue && ip link set blue up`;
    see(`${host} has VLAN 100`, await run(host, 'sh', '-c', script));
  }
  see('hosts meet on the VLAN', await pings('h1', '10.10.0.12'));
  see('a client behind the edge meets them', await pings('c1', '10.10.0.11'));
  see('and they the client', await pings('h2', '10.10.0.200'));
  const foreign = await run('c3', 'sh', '-c', 'ip addr add 10.10.0.99/24 dev eth0');
  see('a client of another VLAN does not', foreign && !(await pings('c3', '10.10.0.11')));
} finally {
  await lab.down();
}
process.exit(failed === 0 ? 0 : 1);
