/** One product with its settings, run by a pair of hosts. */
export interface PeerKind {
  /** Its hosts are this and a number. */
  readonly letter: string;
  /**
   * Of its hosts, beyond the numbers of the lab's own; also the third number of their addresses
   * 10.66.N.1 and 10.66.N.2, and of the shared one, 10.66.N.100.
   */
  readonly firstIndex: number;
  /** As sh: ends in the foreground process of host `number`. */
  script(name: string, number: number): string;
  /** As sh, on each host: succeeds once it takes part. Undefined: it says so nowhere. */
  readonly ready?: string;
  /** To wait after that. */
  readonly settleMs: number;
}

/**
 * A virtual address on a virtual MAC (VRRP version 3, use_vmac), no storage and no fencing. Nobody
 * preempts: the one that comes back stays behind, as with ours.
 */
export function keepalived(advertMs: number, letter: string, firstIndex: number): PeerKind {
  return {
    letter,
    firstIndex,
    script: (name) => `cat > /run/keepalived.conf <<end
global_defs {
  router_id ${name}
  max_auto_priority 99
}
vrrp_instance shared {
  state BACKUP
  nopreempt
  interface eth1
  use_vmac
  version 3
  virtual_router_id ${firstIndex}
  priority 250
  advert_int ${advertMs / 1_000}
  virtual_ipaddress {
    10.66.${firstIndex}.100/16
  }
}
end
exec keepalived -n -l -P -f /run/keepalived.conf -p /run/keepalived.pid -r /run/vrrp.pid`,
    // It says nowhere that it listens; a backup is one after its first second, or its first adverts.
    settleMs: 1_500 + 4 * advertMs,
  };
}

/** CARP with its defaults: an advert a second, dead after three; the host's own MAC, gratuitous ARP. */
export function ucarp(letter: string, firstIndex: number): PeerKind {
  const address = `10.66.${firstIndex}.100`;
  return {
    letter,
    firstIndex,
    script: (_name, number) => `cat > /run/up <<end
#!/bin/sh
exec ip address replace ${address}/16 dev \\$1
end
cat > /run/down <<end
#!/bin/sh
exec ip address delete ${address}/16 dev \\$1
end
chmod 755 /run/up /run/down
exec ucarp -i eth1 -s 10.66.${firstIndex}.${number} -v ${firstIndex} -p bench -a ${address} \\
  -u /run/up -d /run/down -b 1 -k ${(number - 1) * 10}`,
    settleMs: 5_000,
  };
}

/**
 * Two nodes, IPaddr2, and a fencing agent that says at once that the other one is off: as quick as a
 * power switch could ever be, which none is. `tokenMs` undefined: corosync's own default.
 */
export function pacemaker(
  tokenMs: number | undefined,
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
corosync
${number === 1 ? `(${configure(names, `10.66.${firstIndex}.100`)}) &` : ''}
exec pacemakerd`,
    ready: `crm_mon -1 | tee /dev/stderr | grep -q 'Online: \\[ ${names.join(' ')} \\]' &&
crm_mon -1 | grep -q 'vip.*Started'`,
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
function configure(hosts: readonly string[], address: string): string {
  const pair = (owner: string, name: string, value: string) =>
    `<nvpair id="${owner}-${name}" name="${name}" value="${value}"/>`;
  const resources = `<primitive id="fence" class="stonith" type="fence_instant">
<instance_attributes id="fence-i">${pair('fence', 'pcmk_host_list', hosts.join(' '))}</instance_attributes>
</primitive>
<primitive id="vip" class="ocf" provider="heartbeat" type="IPaddr2">
<instance_attributes id="vip-i">${pair('vip', 'ip', address)}${pair('vip', 'cidr_netmask', '16')}${pair('vip', 'nic', 'eth1')}</instance_attributes>
<operations><op id="vip-monitor" name="monitor" interval="10s" timeout="20s"/></operations>
</primitive>`;
  return `until crm_mon -1 2> /dev/null | grep -q 'Online: .*${hosts[0]} .*${hosts[1]}'; do sleep 0.5; done
cibadmin --query --scope resources | grep -q vip && exit
crm_attribute --type rsc_defaults --name resource-stickiness --update 100
for part in ${resources
    .split('</primitive>')
    .map((part) => part.replaceAll('\n', ''))
    .filter((part) => part !== '')
    .map((part) => `'${part}</primitive>'`)
    .join(' ')}; do cibadmin --create --scope resources --xml-text "$part"; done`;
}
