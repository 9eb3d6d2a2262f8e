import { nextVersion, type UnitLab } from '../units/harness.js';
import { agent, late, type Scenario, scenarios } from '../units/scenarios.js';
import { heartbeatMs, leaseMs } from './trunk.js';
import { packageUrl } from './units-world.js';

const done = [
  'agent: SIGKILL',
  'agent: restart',
  'pulse: SIGKILL',
  'pulse: restart',
  'pulse: stop',
  'disk: SIGKILL',
  'command: SIGKILL',
  'workload unit: SIGKILL',
  'workload unit: restart',
] as const;

/** A boot that is like the one before gives the unit's process the same number. */
const ofThisBoot: Scenario['process'] = async ({ lab, shell, property }, host) => {
  if (lab.pidOf(host) === undefined) return '';
  const pid = await property(host, agent, 'MainPID');
  if (pid === '0') return '';
  return `${pid} of ${await shell(host, 'cat /proc/sys/kernel/random/boot_id')}`;
};

async function upgrade({ shell }: UnitLab, host: string): Promise<void> {
  await shell(host, `busybox wget -q -O /root/next.deb ${packageUrl}; dpkg -i /root/next.deb`);
  const told = await shell(host, 'dpkg-query -s understudy');
  if (!told.includes(`\nVersion: ${nextVersion}\n`)) throw new Error(`not installed: ${told}`);
}

const ofMachines: Readonly<Record<string, Scenario>> = {
  'package: upgrade': { ...known('package: upgrade'), act: upgrade },
  'host: systemctl reboot': {
    process: ofThisBoot,
    alone: true,
    act: async (world, host) => {
      await late('reboot')(world, host);
      // Its guest agent may be gone before it could answer.
      await world.stage.lab.exec(host, ['systemctl', 'reboot']);
    },
  },
  'host: power cut': { ...known('host: power cut'), process: ofThisBoot },
};

/** What is done to machines, in the order of docs/vm-lab.md, "Units". */
export const machineScenarios: ReadonlyMap<string, Scenario> = new Map([
  ...done.map((id) => [id, patient(id, known(id))] as const),
  ...Object.entries(ofMachines),
]);

function known(id: string): Scenario {
  const found = scenarios.get(id);
  if (found === undefined) throw new Error(`nobody knows how to do ${id}`);
  return found;
}

/** A new pulse has not saved a lease before the old one's would have ended. */
function patient(id: string, scenario: Scenario): Scenario {
  return id.startsWith('pulse: ') ? { ...scenario, outlastsMs: leaseMs + heartbeatMs } : scenario;
}
