import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import type { PowerConfig } from '../../src/config/types.js';
import { FenceAgents } from '../../src/fencing/fence-agent.js';
import { closeProcess, openProcess, waitForEnd } from '../../src/ffi/pidfd.js';

const never = new AbortController().signal;

/** A fence agent as a shell script: `$options` holds what it was told on standard input. */
function agent(t: Test, body: string, changes: Partial<PowerConfig> = {}): PowerConfig {
  const folder = t.testdir({ agent: `#!/bin/sh\noptions=$(cat)\n${body}\n`, password: 'sesame\n' });
  chmodSync(join(folder, 'agent'), 0o755);
  chmodSync(join(folder, 'password'), 0o600);
  return {
    agent: join(folder, 'agent'),
    options: { ip: '10.0.0.9', plug: 'h2' },
    passwordFile: join(folder, 'password'),
    action: 'off',
    timeoutMs: 5_000,
    ...changes,
  };
}

const truthful = `
echo "$options" >> "\${0%/*}/asked"
echo "$*" >> "\${0%/*}/argv"
case $options in *action=status*) exit 2 ;; esac
`;

test('a machine is off when its agent switched it off and then says so', async (t) => {
  const power = agent(t, truthful);
  await new FenceAgents().switchOff('h2', power, never);
  const folder = power.agent.replace(/\/agent$/, '');
  const asked = readFileSync(join(folder, 'asked'), 'utf8');
  t.match(asked, /ip=10.0.0.9\nplug=h2\npassword=sesame\naction=off\n(?:.*\n)*action=status\n/);
  t.equal(readFileSync(join(folder, 'argv'), 'utf8').trim(), '', 'no secret is in an argument');
});

test('a reboot is proven by the agent’s own success', async (t) => {
  const power = agent(t, `${truthful}\nexit 0`, { action: 'reboot', passwordFile: null });
  await new FenceAgents().switchOff('h2', power, never);
  const asked = readFileSync(power.agent.replace(/agent$/, 'asked'), 'utf8');
  t.notMatch(asked, /status/);
});

test('an agent that fails proves nothing, and its words are told', async (t) => {
  const power = agent(t, 'echo "Unable to connect to the BMC" >&2; exit 1');
  await t.rejects(new FenceAgents().switchOff('h2', power, never), {
    code: 'US_POWER_NOT_OFF',
    message: /Unable to connect to the BMC \(exit code 1\)/,
  });
});

test('an agent that says "done" while the machine is on is not believed', async (t) => {
  await t.rejects(new FenceAgents().switchOff('h2', agent(t, 'exit 0'), never), {
    code: 'US_POWER_NOT_OFF',
    message: /its status is not off/,
  });
});

test('an agent that hangs is ended in time, with all that it started', async (t) => {
  const power = agent(t, `sleep 1000 & echo $! > "\${0%/*}/child"; wait`, { timeoutMs: 500 });
  await t.rejects(new FenceAgents().switchOff('h2', power, never), { code: 'US_POWER_AGENT' });
  // Its pipes are closed a moment before it counts as ended.
  const child = openProcess(Number(readFileSync(power.agent.replace(/agent$/, 'child'), 'utf8')));
  if (child !== undefined) {
    t.teardown(() => closeProcess(child));
    t.ok(await waitForEnd(child, 5_000), 'what it started has ended too');
  }
});

/** Like ssh with ControlPersist: in a session of its own, with the agent's output open. */
const persistent = `setsid sleep 1000 & echo $! > "\${0%/*}/child"`;

function endPersistent(power: PowerConfig): void {
  const pid = Number(readFileSync(power.agent.replace(/agent$/, 'child'), 'utf8'));
  process.kill(pid, 'SIGKILL');
}

test('an agent that hangs is given up in time, also when what it started cannot be found', async (t) => {
  const power = agent(t, `${persistent}; wait`, { timeoutMs: 500 });
  await t.rejects(new FenceAgents().switchOff('h2', power, never), { code: 'US_POWER_AGENT' });
  endPersistent(power);
});

test('an agent that has ended is believed although something of it lives on', async (t) => {
  const power = agent(t, `case $options in *action=status*) exit 2 ;; esac; ${persistent}`);
  await new FenceAgents().switchOff('h2', power, never);
  endPersistent(power);
  t.pass('off');
});

test('an agent that is not there is told by name', async (t) => {
  const power = agent(t, '', { agent: 'fence_of_no_kind' });
  await t.rejects(new FenceAgents().switchOff('h2', power, never), {
    code: 'US_POWER_AGENT',
    message: /fence_of_no_kind/,
  });
});

test('a password that others may read is refused, and nothing is called', async (t) => {
  const power = agent(t, truthful);
  chmodSync(power.passwordFile ?? '', 0o644);
  await t.rejects(new FenceAgents().switchOff('h2', power, never), { code: 'US_POWER_PASSWORD' });
  writeFileSync(power.passwordFile ?? '', 'x'.repeat(2_000));
  await t.rejects(new FenceAgents().switchOff('h2', power, never), { code: 'US_POWER_PASSWORD' });
  t.notOk(existsSync(power.agent.replace(/agent$/, 'asked')));
});
