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
