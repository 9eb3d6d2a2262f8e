import { must, type Stage } from './stage.js';

/** Which kernel each machine runs, that the package's units run there, and what carries the disks. */
export async function showMachines(stage: Stage): Promise<void> {
  for (const { name, personalities } of (await stage.status()).hosts) {
    const units = ['understudy-agent', 'understudy-pulse'];
    await must(stage, name, ['systemctl', 'is-active', ...units]);
    const release = (await must(stage, name, ['uname', '-r'])).trim();
    const version = await must(stage, name, ['dpkg-query', '-W', 'understudy']);
    stage.say(
      `machine     ${name}: Linux ${release}, package ${version.trim().replace('\t', ' ')}, units active`,
    );
    if (personalities.length === 0) continue;
    const sessions = (await must(stage, name, ['iscsiadm', '-m', 'session'])).trim().split('\n');
    stage.say(
      `            ${personalities.join(', ')}: ${sessions.length} sessions of the kernel's initiator`,
    );
  }
}
