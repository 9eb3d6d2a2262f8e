import type { PeerKind } from './peers.js';
import { volumeAgent } from './volume-agent.js';

export interface PacemakerSettings {
  /** Undefined: corosync's own default. */
  readonly tokenMs?: number;
  /** Beside the address, and started before it: an ext4 on a LUN. */
  readonly volume?: boolean;
}

/**
 * Two nodes, IPaddr2, and a fencing agent that says at once that the other one is off: as quick as a
 * power switch could ever be, which none is.
 */
export function pacemaker(
  { tokenMs, volume = false }: PacemakerSettings,
  letter: string,
  firstIndex: number,
): PeerKind {
  const names = [`${letter}1`, `${letter}2`];
  const nodes = names.map(
    (name, at) => `  node {
    ring0_addr: 10.66.${firstIndex}.${at + 1}
    name: ${name}
    nodeid: ${at + 1}
  }`,
  );
  return {
    letter,
    firstIndex,
    script: (_name, number) => `mkdir -p /etc/corosync /var/log/corosync /var/log/pacemaker
chown hacluster:haclient /var/log/pacemaker
cat > /etc/corosync/corosync.conf <<end
totem {
  version: 2
  cluster_name: bench-${letter}
  crypto_cipher: none
  crypto_hash: none
${tokenMs === undefined ? '' : `  token: ${tokenMs}\n`}}
nodelist {
${nodes.join('\n')}
}
quorum {
  provider: corosync_votequorum
  two_node: 1
}
logging {
  to_logfile: no
  to_syslog: no
}
end
cat > /usr/sbin/fence_instant <<'end'
${fenceAgent}end
chmod 755 /usr/sbin/fence_instant
${volume ? volumeAgent(firstIndex + number) : ''}
corosync
${number === 1 ? `(${configure(names, `10.66.${firstIndex}.100`, volume)}) &` : ''}
exec pacemakerd`,
    ready: `said=$(crm_mon -1 2>&1); echo "$said"
echo "$said" | grep -q 'Online: \\[ ${names.join(' ')} \\]' && echo "$said" | grep -q 'vip.*Started'`,
    settleMs: 1_000,
  };
}

/** In the form that fence-agents have (FenceAgentAPI): options on standard input, one a line. */
const fenceAgent = `#!/bin/sh
action=$(sed -n 's/^action=//p')
[ "$action" != metadata ] || cat <<xml
<?xml version="1.0" ?>
<resource-agent name="fence_instant" shortdesc="says that it is off">
<longdesc>Says that it is off.</longdesc>
<parameters>
<parameter name="action" required="1"><shortdesc lang="en">what</shortdesc><content type="string" default="off"/></parameter>
<parameter name="port" required="0"><shortdesc lang="en">whom</shortdesc><content type="string"/></parameter>
</parameters>
<actions><action name="on"/><action name="off"/><action name="reboot"/><action name="status"/><action name="monitor"/><action name="metadata"/></actions>
</resource-agent>
xml
`;

/** Once there is a configuration to add to; a host that comes back finds it there. */
function configure(hosts: readonly string[], address: string, volume: boolean): string {
  const pair = (owner: string, name: string, value: string) =>
    `<nvpair id="${owner}-${name}" name="${name}" value="${value}"/>`;
  const disk = `<primitive id="disk" class="ocf" provider="bench" type="volume">
<operations><op id="disk-start" name="start" interval="0" timeout="20s"/><op id="disk-stop" name="stop" interval="0" timeout="20s"/><op id="disk-monitor" name="monitor" interval="10s" timeout="20s"/></operations>
</primitive>`;
  const fence = `<primitive id="fence" class="stonith" type="fence_instant">
<instance_attributes id="fence-i">${pair('fence', 'pcmk_host_list', hosts.join(' '))}</instance_attributes>
</primitive>`;
  const vip = `<primitive id="vip" class="ocf" provider="heartbeat" type="IPaddr2">
<instance_attributes id="vip-i">${pair('vip', 'ip', address)}${pair('vip', 'cidr_netmask', '16')}${pair('vip', 'nic', 'eth1')}</instance_attributes>
<operations><op id="vip-monitor" name="monitor" interval="10s" timeout="20s"/></operations>
</primitive>`;
  return `until crm_mon -1 2> /dev/null | grep -q 'Online: .*${hosts[0]} .*${hosts[1]}'; do sleep 0.5; done
cibadmin --query --scope resources | grep -q vip && exit
crm_attribute --type rsc_defaults --name resource-stickiness --update 100
for part in ${[fence, volume ? `<group id="all">${disk}${vip}</group>` : vip]
    .map((part) => `'${part.replaceAll('\n', '')}'`)
    .join(' ')}; do cibadmin --create --scope resources --xml-text "$part"; done`;
}
