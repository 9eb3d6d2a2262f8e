import { isIP } from 'node:net';
import { dispatchSpec } from '../../agent/specs.js';
import { sharedName } from '../../config/dispatchers.js';
import type { ServiceConfig } from '../../config/types.js';
import {
  type MemberTraffic,
  memberHealth,
  memberReason,
  memberTraffic,
  trafficOf,
} from '../../control/status.js';
import { configOf, type View } from '../../control/view.js';
import { choose } from '../../dispatch/choose.js';
import { UnderstudyError } from '../../errors.js';
import { clientAddressOf, clientAdvice } from '../client-address.js';
import { type ClusterOptions, withCluster } from '../cluster.js';

export interface WhichOptions extends ClusterOptions {
  readonly json: boolean;
  readonly service: string;
  /** ADDRESS:PORT, IPv6 in brackets. */
  readonly client: string;
}

export interface Which {
  readonly service: string;
  readonly client: string;
  readonly slot: number;
  readonly member: string;
  readonly mac: string;
  /** What the dispatcher has sent to this member, some seconds ago; null where that is not told. */
  readonly traffic: MemberTraffic | null;
}

export async function run(options: WhichOptions): Promise<number> {
  return withCluster(options, async (cluster) => {
    const view = await cluster.view();
    const answer = whichOf(view, options.service, options.client);
    if (options.json) {
      process.stdout.write(`${JSON.stringify(answer)}\n`);
      return 0;
    }
    const service = serviceOf(view, options.service);
    const others = (service?.members ?? []).map(({ personality, weight }) => {
      const shared = service === undefined ? '' : sharedName(service);
      const health = memberHealth(view, shared, personality, weight);
      const reason = service === undefined ? '' : memberReason(view, service, personality, weight);
      return `${personality} ${health}${reason === '' ? '' : ` (${reason})`}`;
    });
    process.stdout.write(
      `${answer.member} (${answer.mac})\n` +
        `  because: ${service?.hash} of ${answer.client} is slot ${answer.slot}, which is ${answer.member}'s; members: ${others.join(', ')}\n${trafficText(answer)}`,
    );
    return 0;
  });
}

function trafficText({ member, traffic }: Which): string {
  if (traffic === null) return '';
  const { packets, bytes, newFlows } = traffic;
  return `  so far ${member} got ${packets} packets of ${bytes} bytes; ${newFlows} flows began\n`;
}

/** One of several dispatchers by its own name, or any of them: a client gets the same member from each. */
function serviceOf(view: View, name: string): ServiceConfig | undefined {
  const services = configOf(view)?.services ?? [];
  return services.find((one) => one.name === name) ?? services.find(({ group }) => group === name);
}

/** The member that a client gets, by the same table and hash as the data plane. */
export function whichOf(view: View, name: string, client: string): Which {
  const service = serviceOf(view, name);
  if (service === undefined) {
    throw problem(name, 'no such service', 'understudy status lists them');
  }
  const from = clientAddressOf(client);
  if (from === undefined) throw problem(name, `${client} is no ADDRESS:PORT`, clientAdvice);
  if (!service.addresses.some((address) => isIP(address) === from.family)) {
    throw problem(
      name,
      `it has no IPv${from.family} address that ${client} could ask`,
      `ask for a client of IPv${from.family === 4 ? 6 : 4}, or give ${name} an address of each family`,
    );
  }
  const [first] = service.ports;
  const choice = choose(dispatchSpec(view, service, 0), {
    address: from.address,
    port: from.port,
    protocol: first?.protocol ?? 'tcp',
    servicePort: first?.first ?? 0,
  });
  if (choice === undefined) {
    throw problem(
      name,
      'no member can take it',
      'understudy status shows the health of its members',
    );
  }
  const { slot, member, mac } = choice;
  const traffic = memberTraffic(trafficOf(view, service.name), member);
  return { service: name, client, slot, member, mac, traffic };
}

function problem(service: string, cause: string, remedy: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_WHICH',
    action: 'cannot tell the member of service',
    object: service,
    cause,
    remedy,
  });
}
