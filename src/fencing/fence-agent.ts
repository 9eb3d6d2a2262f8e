import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import type { PowerConfig } from '../config/types.js';
import { within } from '../deadline.js';
import { messageOf, UnderstudyError } from '../errors.js';
import type { PowerAdapter } from './types.js';

/** What an agent exits with for `action=status` of a machine that is off (FenceAgentAPI). */
const statusOff = 2;
/**
 * What an agent started may outlive it in a session of its own, with its output open (ssh that shares
 * connections): the last words are waited for so long, once it has ended or was killed.
 */
const lastWordsMs = 500;
const longestAnswerChars = 4_000;
const longestPasswordBytes = 1_000;

/**
 * Power fencing by Debian's fence-agents: options come on standard input, `name=value` a line each, so
 * that no secret is ever in an argument list (FenceAgentAPI.md of the fence-agents project).
 *
 * An agent that says that it switched a machine off is not believed but asked again: only a status of
 * "off" proves it. A reboot is proven by the agent's own success: it waits for "off" before "on".
 */
export class FenceAgents implements PowerAdapter {
  async switchOff(host: string, power: PowerConfig, signal: AbortSignal): Promise<void> {
    const { action, agent } = power;
    const limit = within(power.timeoutMs, signal);
    const options = { ...power.options, ...(await password(host, power)) };
    const ask = (what: string) => run(host, power, { ...options, action: what }, limit);
    const done = await ask(action);
    if (done.code !== 0) throw refused(host, agent, `${action}: ${done.told}`);
    if (action === 'reboot') return;
    const status = await ask('status');
    if (status.code !== statusOff)
      throw refused(host, agent, `its status is not off: ${status.told}`);
  }
}

interface Answer {
  readonly code: number | null;
  readonly told: string;
}

function run(
  host: string,
  power: PowerConfig,
  options: Readonly<Record<string, string>>,
  limit: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // Of its own group: an agent may have started ssh or ipmitool, which must end with it.
    const child = spawn(power.agent, [], { stdio: 'pipe', detached: true });
    let told = '';
    const hear = (text: string) => {
      if (told.length < longestAnswerChars) told += text;
    };
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', hear);
    let lastWords: NodeJS.Timeout | undefined;
    const settle = (then: () => void) => {
      clearTimeout(lastWords);
      limit.removeEventListener('abort', abort);
      child.stdout.destroy();
      child.stderr.destroy();
      then();
    };
    const end = (code: number | null) =>
      settle(() => {
        if (limit.aborted) reject(failed(host, power.agent, messageOf(limit.reason)));
        else resolve({ code, told: `${tail(told)} (exit code ${code})` });
      });
    const abort = () => {
      if (child.pid !== undefined) killGroup(child.pid);
      lastWords ??= setTimeout(() => end(null), lastWordsMs);
    };
    child.on('error', (thrown) =>
      settle(() => reject(failed(host, power.agent, messageOf(thrown)))),
    );
    child.on('exit', (code) => {
      lastWords ??= setTimeout(() => end(code), lastWordsMs);
    });
    child.on('close', end);
    limit.addEventListener('abort', abort, { once: true });
    if (limit.aborted) abort();
    // An agent that ends without reading is told about by its exit code.
    child.stdin.on('error', () => undefined);
    child.stdin.end(
      Object.entries(options)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
    );
  });
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

/** Last line of what an agent said; it says no secret there that it was not asked to. */
function tail(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 300) ?? '';
}

async function password(
  host: string,
  { passwordFile }: PowerConfig,
): Promise<Readonly<Record<string, string>>> {
  if (passwordFile === null) return {};
  const refuse = (cause: string, remedy: string) =>
    new UnderstudyError({
      code: 'US_POWER_PASSWORD',
      action: 'cannot switch off',
      object: host,
      cause: `${passwordFile}: ${cause}`,
      remedy,
    });
  let text: string;
  let mode: number;
  try {
    const file = await open(passwordFile, 'r');
    try {
      const status = await file.stat();
      mode = status.mode;
      if (status.size > longestPasswordBytes) throw new Error('it is too long for a password');
      text = await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (thrown) {
    throw refuse(messageOf(thrown), 'put the password there, one line, on every controller');
  }
  if ((mode & 0o077) !== 0) {
    throw refuse('others than its owner may use it', `chmod 0600 ${passwordFile}`);
  }
  return { password: text.split('\n')[0] ?? '' };
}

function failed(host: string, agent: string, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_POWER_AGENT',
    action: 'cannot switch off',
    object: host,
    cause: `${agent}: ${cause}`,
    remedy: 'see that the fence agent is installed on every controller and reaches the device',
  });
}

function refused(host: string, agent: string, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_POWER_NOT_OFF',
    action: 'cannot make sure of the power of',
    object: host,
    cause: `${agent}: ${cause}`,
    remedy: `it is tried again; or switch it off by hand, then: understudy fenced ${host} --yes`,
  });
}
