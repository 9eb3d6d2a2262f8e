import { contains, parseAddress, parsePrefix } from '../config/addresses.js';
import type { NetworkConfig } from '../config/types.js';
import type { Directive } from './keepalived-parse.js';
import { label } from './label.js';

/** Made-up VLANs begin here: a person corrects them. */
const firstGuess = 4_000;

/** Networks of a cluster file, by the NICs and subnets that a keepalived.conf speaks of. */
export class Networks {
  readonly #note: (at: Directive, why: string) => void;
  readonly #networks = new Map<string, NetworkConfig>();
  #interface = 'eth0';

  constructor(note: (at: Directive, why: string) => void) {
    this.#note = note;
  }

  /** The hosts' NIC: the first that is spoken of, without its VLAN. */
  get interface(): string {
    return this.#interface;
  }

  get all(): readonly NetworkConfig[] {
    return [...this.#networks.values()];
  }

  named(name: string): NetworkConfig | undefined {
    return this.#networks.get(name);
  }

  /** Whose subnet an address is in. */
  holding(address: string): string | undefined {
    const bytes = parseAddress(address) ?? [];
    return this.all.find(({ subnets }) =>
      subnets.some((text) => {
        const subnet = parsePrefix(text);
        return subnet !== undefined && contains(subnet, bytes);
      }),
    )?.name;
  }

  /** By NIC: `eth0.100` is VLAN 100 on eth0; eth0 itself is untagged. @returns its name */
  at(line: Directive, device: string, subnet: string): string {
    const [, parent, vlan] =
      device.match(/^(.+)\.(\d{1,4})$/) ?? device.match(/^(.*)vlan(\d{1,4})$/) ?? [];
    const name = label(`net-${device}`);
    const before = this.#networks.get(name);
    if (before !== undefined) {
      if (before.subnets.includes(subnet)) return name;
      const v6 = subnet.includes(':');
      if (before.subnets.some((one) => one.includes(':') === v6)) {
        return this.#separate(line, subnet);
      }
      this.#networks.set(name, { ...before, subnets: [...before.subnets, subnet] });
      return name;
    }
    if (vlan === undefined && this.all.some(({ fabric }) => fabric === 'untagged')) {
      return this.#separate(line, subnet);
    }
    if (this.#networks.size === 0) {
      this.#interface = (vlan === undefined ? device : parent) || 'eth0';
    }
    this.#networks.set(name, {
      ...{ name, fabric: vlan === undefined ? 'untagged' : 'vlan', id: Number(vlan ?? 0) },
      ...{ subnets: [subnet], mtu: 1_500, gateways: [] },
    });
    return name;
  }

  /** A second subnet or NIC: a network of its own, whose VLAN a person has to write. */
  #separate(line: Directive, subnet: string): string {
    const name = label(`net-${subnet.replace('/', '-')}`);
    if (this.#networks.has(name)) return name;
    const id = firstGuess + this.#networks.size;
    this.#networks.set(name, {
      ...{ name, fabric: 'vlan', id, subnets: [subnet], mtu: 1_500, gateways: [] },
    });
    this.#note(
      line,
      `${subnet} needs a network of its own: its VLAN was made up (${id}); correct it`,
    );
    return name;
  }
}
