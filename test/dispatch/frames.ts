import { interfaceIndex } from '../../src/ffi/bpf-filter.js';
import { libc } from '../../src/ffi/libc.js';
import { inNetworkNamespace } from '../../src/ffi/namespace.js';
import { AF_PACKET, bindSocket, openSocket, SOCK_RAW } from '../../src/ffi/sockets.js';
import type { TestNamespace } from '../bpf-net.js';

export const send = libc.func('long send(int fd, void *bytes, size_t length, int flags)');

/** A socket that sends whole frames from a device in a namespace (packet(7)). To be closed. */
export function openFrames(at: TestNamespace, device: string): number {
  return inNetworkNamespace(at.path, () => {
    const fd = openSocket(AF_PACKET, SOCK_RAW, 0);
    // struct sockaddr_ll: family, protocol, interface.
    const address = Buffer.alloc(20);
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeInt32LE(interfaceIndex(device), 4);
    bindSocket(fd, address);
    return fd;
  });
}
