import koffi from 'koffi';
import { libc } from './libc.js';

/** Offloads of a NIC by ioctl (include/uapi/linux/ethtool.h). Equals: `ethtool -k NAME` */
const SIOCETHTOOL = 0x8946;
const ETHTOOL_GTXCSUM = 0x16;
const ETHTOOL_GFLAGS = 0x25;
const ETH_FLAG_TXVLAN = 1 << 7;
const ETH_FLAG_RXVLAN = 1 << 8;
const ETH_FLAG_LRO = 1 << 15;

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const nameLength = 16;

const request = koffi.struct('understudy_ethtool_request', {
  name: koffi.array('char', nameLength),
  data: 'void *',
  padding: koffi.array('uint8', 16),
});
const socket = libc.func('int socket(int domain, int type, int protocol)');
const ioctl = libc.func('ioctl', 'int', ['int', 'unsigned long', koffi.pointer(request)]);
const close = libc.func('int close(int fd)');

export interface Offloads {
  readonly txChecksum: boolean | undefined;
  readonly largeReceive: boolean | undefined;
  readonly vlan: boolean | undefined;
}

/** Of a NIC in this thread's network namespace; undefined where its driver does not say. */
export function offloadsOf(name: string): Offloads {
  const fd = socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0) as number;
  try {
    const ask = (command: number): number | undefined => {
      const value = Buffer.alloc(8);
      value.writeUInt32LE(command, 0);
      const asked = {
        name: name.slice(0, nameLength - 1),
        data: value,
        padding: new Array(16).fill(0),
      };
      return ioctl(fd, SIOCETHTOOL, asked) === 0 ? value.readUInt32LE(4) : undefined;
    };
    const checksum = ask(ETHTOOL_GTXCSUM);
    const flags = ask(ETHTOOL_GFLAGS);
    const has = (bits: number) => (flags === undefined ? undefined : (flags & bits) !== 0);
    return {
      txChecksum: checksum === undefined ? undefined : checksum !== 0,
      largeReceive: has(ETH_FLAG_LRO),
      vlan: has(ETH_FLAG_TXVLAN | ETH_FLAG_RXVLAN),
    };
  } finally {
    close(fd);
  }
}
