import { worst } from './cluster-checks.js';
import type { ClusterFacts, DispatchedFacts, HostFacts, MemberPathFacts } from './facts.js';
import { type Check, type Finding, notApplicable, ok, problem, warning } from './types.js';

/** Why a service’s packets do not get where they should: what of their way is on this host. */
export const pathChecks: readonly Check<HostFacts>[] = [
  {
    id: 'service-path',
    title: 'dispatchers here',
    judge: ({ paths }) => {
      if (paths === undefined) return notApplicable('no definition is known');
      const [trouble] = paths.troubles;
      if (trouble !== undefined) return notApplicable(`could not be looked at: ${trouble}`);
      return (
        worst(paths.dispatched.flatMap(dispatcherFaults)) ??
        (paths.dispatched.length === 0
          ? notApplicable('no service is dispatched here')
          : ok(`${names(paths.dispatched)}: address, guard and program are on the NIC`))
      );
    },
  },
  {
    id: 'member-path',
    title: 'members of services here',
    judge: ({ paths }) => {
      if (paths === undefined) return notApplicable('no definition is known');
      const { members } = paths;
      return (
        worst(members.flatMap(memberFaults)) ??
        (members.length === 0
          ? notApplicable('no member of a service is here')
          : ok(`${members.map(nameOf).join(', ')}: hold the address, silently, and listen`))
      );
    },
  },
];

/** In the cluster: what dispatchers counted. */
export const dropCheck: Check<ClusterFacts> = {
  id: 'service-drops',
  title: 'packets that no member got',
  judge: ({ status }) => {
    if (status === undefined) return notApplicable('the cluster is not known');
    const told = status.services.flatMap(({ name, traffic }) =>
      traffic === null ? [] : [{ name, ...traffic }],
    );
    const faults = told.flatMap(({ name, received, dropped }) =>
      Object.entries(dropped)
        .filter(([, packets]) => packets > received * tolerated)
        .map(([reason, packets]) =>
          warning(
            `${name}: ${packets} of ${received} dropped, ${reason}`,
            remedies[reason] ?? 'docs/dispatcher.md tells the reasons',
          ),
        ),
    );
    if (told.length === 0) return notApplicable('no dispatcher has told what it counted');
    return worst(faults) ?? ok('less than one in a hundred was dropped for any reason');
  },
};

const tolerated = 0.01;
const remedies: Readonly<Record<string, string>> = {
  lease:
    'a host without a lease drops all: see lease-held and lease-margin on the dispatching host',
  'no-member': 'no member was up: see cluster-members and what their checks say',
  malformed: 'packets end within a header or contradict it: capture at the dispatcher’s NIC; LRO?',
  'too-deep': 'more than six IPv6 extension headers: nobody sends that by accident',
  loop: 'what a dispatcher sent came back: a bridge or switch port mirrors or floods it',
};

function dispatcherFaults({ service, missing, guarded, by }: DispatchedFacts): readonly Finding[] {
  const faults: Finding[] = [];
  if (!guarded) {
    faults.push(
      problem(
        `${service}: its NIC has no guard, so nothing may be answered`,
        'the log of the agent tells why; tc filter show dev eth0 ingress in its namespace',
      ),
    );
  }
  if (missing.length > 0) {
    faults.push(
      problem(
        `${service}: ${missing.join(', ')} is not on its NIC, or that is down: nobody finds the service`,
        `ip -n us-svc-${service} address; the log of the agent tells why`,
      ),
    );
  }
  if (by === undefined) {
    faults.push(
      problem(
        `${service}: no program sends its packets on`,
        'the log of the agent tells why; kernel-bpf-tc',
      ),
    );
  }
  if (by === 'nftables') {
    faults.push(
      warning(
        `${service}: goes by nftables: a change of members breaks the connections that it moves`,
        'a kernel that takes the BPF program (the log of the agent has its words), or dataPlane: nftables on purpose',
      ),
    );
  }
  return faults;
}

function memberFaults(member: MemberPathFacts): readonly Finding[] {
  const { service, personality, missing, answersArp, heard, elsewhere } = member;
  const faults: Finding[] = [];
  if (missing.length > 0) {
    faults.push(
      problem(
        `${nameOf(member)}: ${missing.join(', ')} is not on its lo: it refuses what is for the service`,
        `ip -n us-${personality} address show dev lo; the log of the agent tells why`,
      ),
    );
  }
  if (answersArp) {
    faults.push(
      problem(
        `${nameOf(member)}: answers ARP for ${service}, so clients may pass the dispatcher by`,
        `arp_ignore 1 in us-${personality}: something set it back`,
      ),
    );
  }
  if (elsewhere.length > 0) {
    faults.push(
      warning(
        `${nameOf(member)}: listens to ${elsewhere.join('; ')}`,
        'let its server listen on every address, or on the service’s too',
      ),
    );
  } else if (heard === false) {
    faults.push(
      warning(
        `${nameOf(member)}: nothing listens on any port of the service`,
        'see its workload; health: {tcp: …} takes such a member out',
      ),
    );
  }
  return faults;
}

const nameOf = ({ personality, service }: { personality: string; service: string }) =>
  `${personality} of ${service}`;
const names = (list: readonly { readonly service: string }[]) =>
  list.map(({ service }) => service).join(', ');
