import { execFileSync } from 'node:child_process';
import { lioPortalIn } from './lio.js';

const namespace = 'storage';
const [host, target] = ['10.77.0.2', '10.77.0.1'];

/**
 * A storage network in a guest: LIO listens at its other end, in a network namespace of its own. A cut is one
 * of the cable: nothing is refused or ended, it just does not arrive.
 */
export class StorageNetwork {
  readonly portal: string;

  private constructor(portal: string) {
    this.portal = portal;
  }

  static make(): StorageNetwork {
    const ip = (...argv: string[]) => execFileSync('ip', argv);
    ip('netns', 'add', namespace);
    ip('link', 'add', 'san', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    ip('address', 'add', `${host}/24`, 'dev', 'san');
    ip('-n', namespace, 'address', 'add', `${target}/24`, 'dev', 'eth0');
    ip('link', 'set', 'san', 'up');
    ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    return new StorageNetwork(lioPortalIn(namespace, `${target}:3260`));
  }

  cut(): void {
    execFileSync('ip', ['-n', namespace, 'link', 'set', 'eth0', 'down']);
  }

  restore(): void {
    execFileSync('ip', ['-n', namespace, 'link', 'set', 'eth0', 'up']);
  }
}
