import { execFile } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { type Step, steps } from './steps.js';

/** One that the page is followed on. */
export interface Machine {
  readonly name: string;
  /** As root's own shell there; all that it prints. Throws with that when it fails. */
  shell(script: string): Promise<string>;
  /** The power goes. */
  cut(): Promise<void>;
}

export interface Site {
  /** h1 and so on; the first three are the page's. */
  readonly machines: readonly Machine[];
  readonly nic: string;
  /** Who answers one that looks on. */
  served(): Promise<string | undefined>;
  /** For an answer to come, and to come from another one. */
  readonly patienceMs: number;
  /** Whether the machines do a step one after the other and not all at once. */
  inTurn?(step: Step): boolean;
  /** Where what is typed is not what the page has. */
  amend?(script: string): string;
}

const run = promisify(execFile);
const addressOf = (index: number) => `192.0.2.${index + 1}`;

/** Does what the page says. Resolves with who served before the power was cut, and who after. */
export async function follow(t: Test, site: Site): Promise<{ cut: string; next: string }> {
  const { machines } = site;
  const page = steps();
  let settings = '';
  let cut = '';
  let next = '';
  const typed = (machine: Machine, { kind, who, script }: Step) => {
    const own = settings
      .replace('h1', machine.name)
      .replace('eth1', site.nic)
      .replace('192.0.2.1', addressOf(machines.indexOf(machine)));
    const whole = kind === 'run' && who === 'h1' ? withMoreHosts(script, page, machines) : script;
    return `${own}\n${site.amend?.(whole) ?? whole}`;
  };
  for (const step of page) {
    const begunMs = Date.now();
    if (step.kind === 'add') continue;
    if (step.kind === 'set') {
      settings = step.script;
      continue;
    }
    if (step.who === 'survivor') {
      cut = await untilServed(site, () => true);
      await statusNames(t, named(machines, 'h1'), cut);
      await named(machines, cut).cut();
      next = await untilServed(site, (host) => host !== cut);
      t.pass(`${next} serves instead of ${cut}`);
    }
    const doers = doersOf(step, machines, cut);
    const doing = (machine: Machine) =>
      step.kind === 'copy'
        ? copy(named(machines, step.who), machine, step.file)
        : machine.shell(typed(machine, step)).catch((thrown: Error & { stdout?: string }) => {
            const { message, stdout = '' } = thrown;
            throw new Error(`${step.where} on ${machine.name}: ${message}\n${stdout}`);
          });
    const outputs: string[] = [];
    if (site.inTurn?.(step)) for (const machine of doers) outputs.push(await doing(machine));
    else outputs.push(...(await Promise.all(doers.map(doing))));
    const tookS = Math.round((Date.now() - begunMs) / 1_000);
    t.pass(`${step.where} on ${doers.map(({ name }) => name).join(', ')}: ${tookS} s`);
    if (step.who === 'survivor') t.match(outputs[0], /web-2/, 'the failover is told');
    if (/endpoint health/.test(step.script)) {
      t.equal(outputs[0]?.match(/is healthy/g)?.length ?? 0, 3);
    }
  }
  return { cut, next };
}

function named(machines: readonly Machine[], name: string): Machine {
  const machine = machines.find((one) => one.name === name);
  if (machine === undefined) throw new Error(`no machine ${name}`);
  return machine;
}

function doersOf({ kind, who }: Step, machines: readonly Machine[], cut: string) {
  if (kind === 'copy') return machines.filter(({ name }) => name !== who);
  if (who === 'each') return machines;
  if (who === 'three') return machines.slice(0, 3);
  if (who === 'survivor') return machines.filter(({ name }) => name !== cut).slice(0, 1);
  return [named(machines, who)];
}

/** The line that the page has for each machine after the third, below the third's. */
function withMoreHosts(script: string, page: readonly Step[], machines: readonly Machine[]) {
  const more = page.filter(
    ({ kind, who }) => kind === 'add' && machines.some(({ name }) => name === who),
  );
  return script.replace(/^ {2}- \{name: h3, .*\n/m, (line) =>
    [line, ...more.map((step) => step.script)].join(''),
  );
}

/** What scp does, which needs what only people have set up. */
async function copy(from: Machine, to: Machine, file: string): Promise<string> {
  const text = (await from.shell(`base64 -w0 ${file}`)).trim();
  const mode = (await from.shell(`stat -c %a ${file}`)).trim();
  return to.shell(`umask 077; base64 -d <<< '${text}' > ${file}; chmod ${mode} ${file}`);
}

async function statusNames(t: Test, machine: Machine, host: string): Promise<void> {
  const said = JSON.parse(await machine.shell('understudy status --json 2> /dev/null')) as {
    personalities: readonly { name: string; host: string }[];
  };
  t.equal(said.personalities[0]?.host, host, 'status names who serves');
}

export async function untilServed(site: Site, by: (host: string) => boolean): Promise<string> {
  for (const endMs = Date.now() + site.patienceMs; Date.now() < endMs; await pause(20)) {
    const host = await site.served();
    if (host !== undefined && by(host)) return host;
  }
  throw new Error('nobody serves');
}

/** Who serves a client in this network namespace. */
export async function servedTo(namespace: string, withinS = 1): Promise<string | undefined> {
  const argv = ['exec', namespace, 'curl', '-s', '-m', String(withinS), 'http://192.0.2.50/'];
  const { stdout } = await run('ip', ['netns', ...argv]).catch(() => ({ stdout: '' }));
  return stdout.match(/^served by (\S+)$/m)?.[1];
}
