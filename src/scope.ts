import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';

export interface ScopeOptions {
  /** Begins the unit's name; a random end keeps two lives of one thing apart. */
  readonly name: string;
  readonly description: string;
  /** `CPUWeight=1000` and the like (systemd.resource-control(5)). */
  readonly properties?: readonly string[];
}

/** Whether systemd is this machine's init (sd_booted(3)). */
export function systemdBooted(): boolean {
  return existsSync('/run/systemd/system');
}

/**
 * Words before a command that put it into a unit and control group of its own, apart from those of the
 * agent that starts it. It stays the same process, with the same descriptors and parent: `systemd-run
 * --scope` registers itself and then becomes the command. None where systemd is not the init.
 */
export function scopeWords({ name, description, properties = [] }: ScopeOptions): string[] {
  if (!systemdBooted()) return [];
  return [
    ...['systemd-run', '--scope', '--quiet', '--collect', '--no-ask-password'],
    `--unit=${name}-${randomBytes(4).toString('hex')}`,
    `--description=${description}`,
    // It takes a backslash for quoting.
    ...properties.map((property) => `--property=${property.replaceAll('\\', '\\\\')}`),
    '--',
  ];
}

/**
 * Name of the unit that systemd knows a mount by.
 *
 * Equals: `systemd-escape --path --suffix=mount PATH` (systemd.unit(5), "String escaping")
 */
export function mountUnit(path: string): string {
  const escaped = path
    .split('/')
    .filter((part) => part !== '')
    .map((part) => part.replace(/[^A-Za-z0-9:_.]/g, hexadecimal))
    .join('-')
    .replace(/^\./, hexadecimal);
  return `${escaped}.mount`;
}

function hexadecimal(text: string): string {
  return [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
}
