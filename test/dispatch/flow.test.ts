import { test } from 'tap';
import { type ClientFlow, hashKey, slotOf } from '../../src/dispatch/flow.js';
import { slotCount } from '../../src/dispatch/table.js';

const flows = 2_000;
const parts = 16;
const keys = Array.from({ length: 8 }, (_, at) => hashKey(Buffer.alloc(16, at * 21 + 1)));

/** Clients as they come in practice: one behind the other. */
const crowds: Readonly<Record<string, (at: number) => Pick<ClientFlow, 'address' | 'port'>>> = {
  'ports of an IPv4 client': (at) => ({ address: '10.1.2.3', port: 1_024 + at }),
  'IPv4 addresses': (at) => ({ address: `10.9.${at >> 8}.${at & 255}`, port: 40_000 }),
  'IPv4 networks': (at) => ({ address: `10.${at >> 8}.${at & 255}.7`, port: 40_000 }),
  'ports of an IPv6 client': (at) => ({ address: 'fd00::1', port: 1_024 + at }),
  'IPv6 addresses': (at) => ({ address: `fd00::${at.toString(16)}`, port: 40_000 }),
  'IPv6 networks': (at) => ({ address: `fd00:0:0:${at.toString(16)}::1`, port: 40_000 }),
};

test('clients that stand in a row are spread as by chance, neither worse nor in step', (t) => {
  for (const [name, crowd] of Object.entries(crowds)) {
    const sums = keys.map((key) => {
      const counts = new Array<number>(parts).fill(0);
      for (let at = 0; at < flows; at += 1) {
        const flow = { ...crowd(at), protocol: 'tcp', servicePort: 80 } as const;
        const part = Math.floor((slotOf(key, 'source-ip-port', flow) * parts) / slotCount);
        counts[part] = (counts[part] ?? 0) + 1;
      }
      const even = flows / parts;
      return counts.reduce((sum, count) => sum + (count - even) ** 2 / even, 0);
    });
    // Pearson's chi-squared over its degrees of freedom: 1 by chance, here within 0.25 or so.
    const ratio = sums.reduce((sum, each) => sum + each, 0) / keys.length / (parts - 1);
    t.ok(ratio > 0.5 && ratio < 1.7, `${name}: ${ratio.toFixed(2)}`);
  }
  t.end();
});
