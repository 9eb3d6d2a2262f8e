import { isDeepStrictEqual } from 'node:util';
import { canonical, contains, parseAddress, parsePrefix } from '../config/addresses.js';
import type { ClusterConfig, PersonalityConfig, ServiceConfig } from '../config/types.js';
import { clusterAround } from './keepalived-cluster.js';
import { groupsOf } from './keepalived-groups.js';
import { checkOf, type FoundCheck } from './keepalived-health.js';
import { Networks } from './keepalived-networks.js';
import { type Directive, readKeepalived } from './keepalived-parse.js';
import { whyNot } from './keepalived-reasons.js';
import { routeOf } from './keepalived-routes.js';
import { Labels, label } from './label.js';
import { networkAddress } from './network-address.js';

export interface Note {
  readonly line: number;
  readonly text: string;
  readonly why: string;
}

export interface Converted {
  readonly config: ClusterConfig;
  /** What was not carried over, or was only guessed, line by line. */
  readonly notes: readonly Note[];
}

/** Where an instance has an address. */
interface Place {
  readonly one: Directive;
  readonly name: string;
  readonly network: string;
  readonly address: string;
}

const usualBits = { 4: 24, 16: 64 } as const;

/**
 * A keepalived.conf as a cluster file: each VRRP instance (or sync group) becomes a personality that has
 * its addresses, each virtual server a service, each real server a personality that is its member.
 * Pure, and never throws: what it cannot do it notes.
 */
export function convertKeepalived(text: string): Converted {
  return new Conversion(text).run();
}

class Conversion {
  readonly #directives: readonly Directive[];
  readonly #notes: Note[] = [];
  /** Of these something is told. */
  readonly #noted = new Set<Directive>();
  /** What has found its place. */
  readonly #carried = new Set<Directive>();
  readonly #networks = new Networks((at, why) => this.#note(at, why));
  readonly #personalities = new Map<string, PersonalityConfig>();
  readonly #services = new Map<string, ServiceConfig>();
  /** Addresses of instances that a service is to have. */
  readonly #servedPlaces: Place[] = [];
  readonly #hostAddresses: string[] = [];
  /** Of instances and groups. */
  readonly #labels = new Labels();

  constructor(text: string) {
    const { directives, faults } = readKeepalived(text);
    this.#directives = directives;
    for (const { line, why } of faults) this.#notes.push({ line, text: '', why });
  }

  run(): Converted {
    const instances = this.#named('vrrp_instance');
    const servers = this.#directives.filter(({ words }) => words[0] === 'virtual_server');
    const served = new Set(servers.map(({ words }) => spelled(words[1] ?? '')));
    const { groups, from } = groupsOf(this.#named('vrrp_sync_group'));
    for (const one of from) this.#carried.add(one);
    for (const instance of instances) this.#instance(instance, groups, served);
    for (const server of servers) this.#virtualServer(server);
    this.#withoutService(servers);
    for (const one of this.#directives) this.#noteLeft(one);
    this.#notes.sort((a, b) => a.line - b.line);
    return { config: this.#config(), notes: this.#notes };
  }

  #instance(
    instance: Directive,
    groups: ReadonlyMap<string, string>,
    served: ReadonlySet<string>,
  ): void {
    this.#carried.add(instance);
    const own = instance.words[1] ?? 'instance';
    const called = groups.get(own) ?? own;
    const name = this.#labels.of(called);
    if (name !== label(called))
      this.#note(instance, `it is called ${name} here: another has its name`);
    const device = this.#take(instance, 'interface')?.words[1] ?? 'eth0';
    for (const word of ['unicast_src_ip', 'unicast_peer']) {
      const found = this.#take(instance, word);
      const addresses = [
        ...(found?.words.slice(1) ?? []),
        ...(found?.block.flatMap((one) => {
          this.#carried.add(one);
          return one.words.slice(0, 1);
        }) ?? []),
      ];
      for (const address of addresses)
        if (parseAddress(address) !== undefined && !this.#hostAddresses.includes(address))
          this.#hostAddresses.push(address);
    }
    for (const word of ['virtual_ipaddress', 'virtual_ipaddress_excluded']) {
      const list = this.#take(instance, word);
      for (const one of list?.block ?? []) this.#address(one, name, device, served);
    }
    const routes = this.#take(instance, 'virtual_routes');
    for (const one of routes?.block ?? []) this.#route(one, name);
  }

  #address(one: Directive, name: string, device: string, served: ReadonlySet<string>): void {
    const [text = '', ...rest] = one.words;
    const [plain = '', length] = text.split('/');
    const bytes = parseAddress(plain);
    if (bytes === undefined) return;
    if (length !== undefined && parsePrefix(text) === undefined) {
      this.#note(one, `/${length} is no length of a prefix: correct it`);
      return;
    }
    this.#carried.add(one);
    const at = rest.indexOf('dev');
    const on = at < 0 ? device : (rest[at + 1] ?? device);
    const others = rest.filter((_, index) => at < 0 || (index !== at && index !== at + 1));
    if (others.length > 0)
      this.#note(
        one,
        `${others.join(' ')} is not carried over: addresses have no labels and scopes here`,
      );
    const bits = length === undefined ? usualBits[bytes.length as 4 | 16] : Number(length);
    if (length === undefined || bits === bytes.length * 8)
      this.#note(
        one,
        `it has no subnet: /${usualBits[bytes.length as 4 | 16]} was taken; correct it`,
      );
    const width = bits === bytes.length * 8 ? usualBits[bytes.length as 4 | 16] : bits;
    const network = this.#networks.at(one, on, networkAddress(plain, width));
    const place = { one, name, network, address: canonical(`${plain}/${width}`) };
    if (served.has(canonical(plain))) this.#servedPlaces.push(place);
    else this.#give(place);
  }

  #give({ one, name, network, address }: Place): void {
    const before = this.#personalities.get(name) ?? emptyPersonality(name);
    const nics = before.networks.some((nic) => nic.network === network)
      ? before.networks.map((nic) => {
          if (nic.network !== network) return nic;
          const family = (text: string) => text.includes(':');
          if (nic.addresses.some((have) => family(have) === family(address))) {
            this.#note(
              one,
              `${name} has an address of this family on that network already: give it a personality of its own`,
            );
            return nic;
          }
          return { ...nic, addresses: [...nic.addresses, address] };
        })
      : [...before.networks, { network, addresses: [address], mac: '' }];
    this.#personalities.set(name, { ...before, networks: nics });
  }

  #route(one: Directive, name: string): void {
    const route = routeOf(one.words);
    const before = this.#personalities.get(name);
    if (route === undefined || before === undefined) return;
    this.#carried.add(one);
    this.#personalities.set(name, { ...before, routes: [...before.routes, route] });
  }

  #virtualServer(server: Directive): void {
    const [, text = '', port = ''] = server.words;
    if (parseAddress(text) === undefined) {
      this.#note(
        server,
        'a service is an address and its ports: a firewall mark or group is neither',
      );
      return;
    }
    if (!/^\d{1,5}$/.test(port) || Number(port) < 1) {
      this.#note(server, 'a service names its ports: write which');
      return;
    }
    this.#carried.add(server);
    const address = canonical(text);
    const protocol = this.#take(server, 'protocol')?.words[1]?.toLowerCase() ?? 'tcp';
    if (protocol !== 'tcp' && protocol !== 'udp')
      this.#note(server, `protocol ${protocol} is not known: tcp was taken`);
    const network =
      this.#networks.holding(address) ??
      this.#networks.at(
        server,
        this.#networks.interface,
        networkAddress(text, text.includes(':') ? 64 : 24),
      );
    const scheduler = [this.#take(server, 'lb_algo'), this.#take(server, 'lvs_sched')].find(
      Boolean,
    );
    const bySource =
      scheduler?.words[1] === 'sh' || this.#take(server, 'persistence_timeout') !== undefined;
    if (scheduler !== undefined && scheduler.words[1] !== 'sh')
      this.#note(
        scheduler,
        `there is no ${scheduler.words[1]}: members are chosen by a hash of the client’s address and port`,
      );
    const kind = this.#take(server, 'lb_kind') ?? this.#take(server, 'lvs_method');
    if (kind !== undefined && kind.words[1] !== 'DR')
      this.#note(
        kind,
        `there is no ${kind.words[1]}: members answer clients themselves, from the service’s network`,
      );
    const everySeconds = Number(this.#take(server, 'delay_loop')?.words[1] ?? Number.NaN);
    const everyMs = everySeconds > 0 && everySeconds <= 86_400 ? everySeconds * 1_000 : 200;
    const before = this.#services.get(address);
    let members = before?.members ?? [];
    let health = before?.health ?? null;
    for (const real of server.block.filter(({ words }) => words[0] === 'real_server')) {
      const member = this.#realServer(real, network, port);
      if (member === undefined) continue;
      health = this.#health(health, member.found, everyMs);
      if (!members.some(({ personality }) => personality === member.personality))
        members = [...members, { personality: member.personality, weight: member.weight }];
    }
    const first = Number(port);
    const ports = [
      ...(before?.ports ?? []),
      { protocol: protocol === 'udp' ? 'udp' : 'tcp', first, last: first } as const,
    ];
    this.#services.set(address, {
      ...{
        name: before?.name ?? label(`service-${address}`),
        network,
        addresses: [address],
        mac: '',
        ports,
        members,
      },
      hash: before?.hash ?? (bySource ? 'source-ip' : 'source-ip-port'),
      ...{ drainMs: 300_000, udpStickyMs: 0, xdp: false, health, pool: 'default' },
    });
  }

  /** A service that came to nothing leaves its address to the instance that had it. */
  #withoutService(servers: readonly Directive[]): void {
    const empty = (address: string) => (this.#services.get(address)?.members.length ?? 0) === 0;
    for (const server of servers) {
      if (this.#carried.has(server) && empty(spelled(server.words[1] ?? '')))
        this.#note(server, 'it is left out: none of its real servers could be carried over');
    }
    for (const place of this.#servedPlaces)
      if (empty(place.address.split('/')[0] ?? '')) this.#give(place);
  }

  #realServer(real: Directive, network: string, port: string) {
    const [, text = '', own = port] = real.words;
    const bytes = parseAddress(text);
    if (bytes === undefined) return undefined;
    const address = canonical(text);
    if (own !== port)
      this.#note(real, `members listen on the service’s own port ${port}, not on ${own}`);
    const subnet = this.#networks
      .named(network)
      ?.subnets.map(parsePrefix)
      .find((one) => one !== undefined && contains(one, bytes));
    if (subnet === undefined) {
      this.#note(
        real,
        `${address} is not on the service’s network: members answer from there, so give it an address on it`,
      );
      return undefined;
    }
    this.#carried.add(real);
    const name = label(`real-${address}`);
    this.#personalities.set(name, {
      ...emptyPersonality(name),
      networks: [{ network, addresses: [`${address}/${subnet.bits}`], mac: '' }],
    });
    this.#note(
      real,
      `${name} is a personality now: give it its workload, and take the address from the machine that has it`,
    );
    const weight = Number(this.#take(real, 'weight')?.words[1] ?? 1);
    return {
      personality: name,
      weight: Number.isInteger(weight) && weight >= 0 && weight <= 1_000 ? weight : 1,
      found: checkOf(real, own),
    };
  }

  /** All members of a service are asked alike: as the first that has a check. */
  #health(
    before: ServiceConfig['health'],
    found: FoundCheck | undefined,
    everyMs: number,
  ): ServiceConfig['health'] {
    if (found === undefined) return before;
    for (const one of found.from) this.#carried.add(one);
    const own = { ...found.check, everyMs };
    if (before !== null && !isDeepStrictEqual({ ...before, everyMs }, own))
      this.#note(found.by, 'a service has one check for all its members: that of another is taken');
    return before ?? own;
  }

  #named(word: string): readonly Directive[] {
    return this.#directives.filter(({ words }) => words[0] === word);
  }

  #take(from: Directive, word: string): Directive | undefined {
    const found = from.block.find(({ words }) => words[0] === word);
    if (found !== undefined) this.#carried.add(found);
    return found;
  }

  #noteLeft(one: Directive): void {
    if (!this.#carried.has(one)) {
      if (!this.#noted.has(one)) this.#note(one, whyNot(one.words[0] ?? ''));
      return;
    }
    for (const below of one.block) this.#noteLeft(below);
  }

  #note(one: Directive, why: string): void {
    this.#noted.add(one);
    this.#notes.push({ line: one.line, text: one.words.join(' ').slice(0, 120), why });
  }

  #config(): ClusterConfig {
    const roles = {
      networks: this.#networks.all,
      personalities: [...this.#personalities.values()],
      services: [...this.#services.values()].filter(({ members }) => members.length > 0),
    };
    const hosts = { addresses: this.#hostAddresses, interface: this.#networks.interface };
    return clusterAround(roles, hosts, (why) => this.#notes.push({ line: 0, text: '', why }));
  }
}

function emptyPersonality(name: string): PersonalityConfig {
  return {
    ...{ name, networks: [], routes: [], storage: [], workload: { kind: 'none' } as const },
    ...{ pool: 'default', priority: 100 },
  };
}

const spelled = (text: string): string =>
  parseAddress(text) === undefined ? text : canonical(text);
