import fc from 'fast-check';
import { test } from 'tap';
import {
  canonicalCidr,
  ipBytes,
  ipText,
  macBytes,
  parseCidr,
} from '../../src/network/addresses.js';
import { type Destination, planForwarding } from '../../src/network/forwarding-plan.js';
import { floodMac } from '../../src/network/netlink/neighbours.js';
import { planRoutes } from '../../src/network/route-plan.js';
import { fitsTag, parseTag, tagText } from '../../src/network/tag.js';

const a = '02:00:5e:00:00:0a';
const b = '02:00:5e:00:00:0b';

test('a MAC that moved is one replacement', (t) => {
  const current = [
    { mac: a, via: '10.0.0.1' },
    { mac: b, via: '10.0.0.2' },
    { mac: floodMac, via: '10.0.0.1' },
    { mac: floodMac, via: '10.0.0.2' },
  ];
  const unicast = [
    { mac: a, via: '10.0.0.3' },
    { mac: b, via: '10.0.0.2' },
  ];
  t.strictSame(planForwarding(current, unicast, ['10.0.0.2', '10.0.0.3']), {
    remove: [{ mac: floodMac, via: '10.0.0.1' }],
    replace: [{ mac: a, via: '10.0.0.3' }],
    append: [{ mac: floodMac, via: '10.0.0.3' }],
  });
  t.strictSame(planForwarding(current, current.slice(0, 2), ['10.0.0.1', '10.0.0.2']), {
    remove: [],
    replace: [],
    append: [],
  });
  t.end();
});

test('whatever the entries were, the plan ends at exactly those wanted', (t) => {
  const macs = fc.constantFrom(a, b, '02:00:5e:00:00:0c');
  const vias = fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1');
  const destination = fc.record({ mac: fc.oneof(macs, fc.constant(floodMac)), via: vias });
  const unicasts = fc.uniqueArray(fc.record({ mac: macs, via: vias }), {
    selector: ({ mac }) => mac,
  });
  const key = ({ mac, via }: Destination) => `${mac} ${via}`;
  fc.assert(
    fc.property(fc.array(destination), unicasts, fc.uniqueArray(vias), (before, unicast, flood) => {
      const plan = planForwarding(before, unicast, flood);
      // As the kernel does it (vxlan_fdb_update, vxlan_core.c): a replacement needs at most one destination.
      let entries = new Set(before.map(key));
      for (const gone of plan.remove) if (!entries.delete(key(gone))) throw new Error('not there');
      for (const to of plan.replace) {
        const others = [...entries].filter((entry) => entry.startsWith(to.mac));
        if (others.length > 1) throw new Error('ambiguous');
        entries = new Set([...entries].filter((entry) => !others.includes(entry)).concat(key(to)));
      }
      for (const to of plan.append) entries.add(key(to));
      const wanted = [...unicast, ...flood.map((via) => ({ mac: floodMac, via }))].map(key);
      if (wanted.sort().join() !== [...entries].sort().join()) throw new Error('not as wanted');
    }),
  );
  t.end();
});

test('a tag says whose a device is', (t) => {
  const role = {
    kind: 'role',
    cluster: 'demo',
    name: 'web1',
    epoch: 3,
    incarnation: 2,
    network: undefined,
  } as const;
  t.equal(tagText(role), 'understudy:demo:web1:3:2');
  t.strictSame(parseTag('understudy:demo:web1:3:2'), role);
  t.equal(tagText({ ...role, network: 'blue' }), 'understudy:demo:web1:3:2:blue');
  t.strictSame(parseTag('understudy:demo:web1:3:2:blue'), { ...role, network: 'blue' });
  const network = { kind: 'network', cluster: 'demo', network: 'blue' } as const;
  t.equal(tagText(network), 'understudy:demo:net:blue');
  t.strictSame(parseTag('understudy:demo:net:blue'), network);
  t.strictSame(parseTag('understudy:demo:net:1:2'), { ...role, name: 'net', epoch: 1 });
  for (const not of [
    '',
    'uplink',
    'understudy:demo',
    'understudy:demo:web1:x:2',
    'understudy::a:1:2',
  ]) {
    t.equal(parseTag(not), undefined, JSON.stringify(not));
  }
  t.ok(fitsTag(['demo', 'web1']));
  for (const not of ['../etc', 'a/b', 'a:b', '', '.', 'x'.repeat(300)])
    t.notOk(fitsTag(['demo', not]));
  t.end();
});

test('addresses are checked and spelled in one way', (t) => {
  t.equal(canonicalCidr('fd00:0:0::1/64'), 'fd00::1/64');
  t.equal(canonicalCidr('10.0.0.1'), '10.0.0.1/32');
  t.equal(ipText(ipBytes('::ffff:1.2.3.4')), '::ffff:102:304');
  for (const bad of ['', '10.0.0', '10.0.0.1/33', '10.0.0.1/', '10.0.0.1/8/8', 'fd00::/129', '1']) {
    t.throws(() => parseCidr(bad), { code: 'US_NET_BAD_ADDRESS' }, bad);
  }
  t.throws(() => macBytes('02:00:5e:00:00'), { code: 'US_NET_BAD_ADDRESS' });
  t.end();
});

test('a route leaves by the NIC whose subnet its gateway is in', (t) => {
  const nics = [
    { linkIndex: 2, addresses: [parseCidr('10.1.0.5/24')] },
    { linkIndex: 3, addresses: [parseCidr('10.2.0.5/24'), parseCidr('fd00::5/64')] },
  ];
  const routes = planRoutes(
    [
      { to: '0.0.0.0/0', via: '10.2.0.1' },
      { to: '10.9.9.9/16', via: '10.1.0.1' },
      { to: '::/0', via: 'fe80::1' },
    ],
    nics,
  );
  t.strictSame(
    routes.map(({ linkIndex }) => linkIndex),
    [3, 2, 3],
  );
  t.equal(routes[1]?.to.bytes.toString('hex'), '0a090000');
  t.end();
});
