import { execFileSync } from 'node:child_process';
import { lioPortalIn } from './lio.js';

/**
 * A storage network in a guest: LIO listens at its other end, in a network namespace of its own. A cut is one
 * of the cable: nothing is refused or ended, it just does not arrive.
 */
export class StorageNetwork {
  readonly portal: string;
  readonly #namespace: string;

  private constructor(namespace: string, portal: string) {
    this.#namespace = namespace;
    this.portal = portal;
  }

  /** @param number tells several apart */
  static make(number = 0): StorageNetwork {
    const [namespace, device] = [`storage${number}`, `san${number}`];
    const [host, target] = [`10.77.${number}.2`, `10.77.${number}.1`];
    const ip = (...argv: string[]) => execFileSync('ip', argv);
    ip('netns', 'add', namespace);
    ip('link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    ip('address', 'add', `${host}/24`, 'dev', device);
    ip('-n', namespace, 'address', 'add', `${target}/24`, 'dev', 'eth0');
    ip('link', 'set', device, 'up');
    ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    return new StorageNetwork(namespace, lioPortalIn(namespace, `${target}:3260`));
  }

  cut(): void {
    execFileSync('ip', ['-n', this.#namespace, 'link', 'set', 'eth0', 'down']);
  }

  restore(): void {
    execFileSync('ip', ['-n', this.#namespace, 'link', 'set', 'eth0', 'up']);
  }
}
