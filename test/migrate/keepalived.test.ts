import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { test } from 'tap';
import { parseClusterFile } from '../../src/config/parse.js';
import { writeClusterFile } from '../../src/config/write.js';
import { convertKeepalived } from '../../src/migrate/keepalived.js';
import { readKeepalived } from '../../src/migrate/keepalived-parse.js';
import { understudy } from '../cli/run.js';

const file = `! a comment
global_defs {
  router_id LVS_A
  notification_email { ops@example.com }
}
vrrp_script chk { script "/usr/bin/chk } #1" interval 2 }
vrrp_sync_group G1 { group { outside inside } }
vrrp_instance outside {
  state MASTER
  interface eth0
  virtual_router_id 51
  priority 150
  advert_int 1
  authentication { auth_type PASS auth_pass secret }
  unicast_src_ip 10.0.0.1
  unicast_peer {
    10.0.0.2
    10.0.0.3
  }
  virtual_ipaddress {
    10.0.0.10/24 dev eth0 label eth0:1
    10.0.0.100/24
  }
  virtual_routes { default via 10.0.0.254 }
  track_script { chk }
}
vrrp_instance inside
{
  interface eth0.200
  virtual_ipaddress { 10.2.0.10 }
}
virtual_server 10.0.0.100 80 {
  delay_loop 6
  lb_algo rr
  lb_kind DR
  persistence_timeout 50
  protocol TCP
  real_server 10.0.0.11 80 {
    weight 2
    TCP_CHECK {
      connect_timeout 3
      connect_port 8080
    }
  }
  real_server 10.0.0.12 80 { HTTP_GET { url { path / } } }
}
virtual_server 10.0.0.100 443 {
  protocol TCP
  real_server 10.0.0.11 443 { }
  real_server 10.9.0.12 443 { }
}
virtual_server fwmark 3 { protocol TCP }
`;

function converted(text: string) {
  const { config, notes } = convertKeepalived(text);
  const parsed = parseClusterFile(writeClusterFile(config));
  return {
    config,
    notes,
    parsed,
    at: (line: number) =>
      notes
        .filter((one) => one.line === line)
        .map(({ why }) => why)
        .join('; '),
  };
}

test('instances become personalities, virtual servers services, real servers members', (t) => {
  const { config, parsed } = converted(file);
  t.equal(parsed.ok, true, parsed.ok ? '' : JSON.stringify(parsed.problems));
  t.match(config.hosts, [
    { name: 'h1', address: '10.0.0.1', interface: 'eth0' },
    { address: '10.0.0.2' },
    { address: '10.0.0.3' },
  ]);
  t.match(config.networks, [
    { name: 'net-eth0', fabric: 'untagged', subnets: ['10.0.0.0/24'] },
    { name: 'net-eth0-200', fabric: 'vlan', id: 200, subnets: ['10.2.0.0/24'] },
  ]);
  const [group, first, second] = config.personalities;
  t.match(group, {
    name: 'g1',
    networks: [
      { network: 'net-eth0', addresses: ['10.0.0.10/24'] },
      { network: 'net-eth0-200', addresses: ['10.2.0.10/24'] },
    ],
    routes: [{ to: '0.0.0.0/0', via: '10.0.0.254' }],
  });
  t.match([first?.name, second?.name], ['real-10-0-0-11', 'real-10-0-0-12']);
  t.equal(config.personalities.length, 3, 'the shared address is the service’s');
  t.match(config.services, [
    {
      ...{ network: 'net-eth0', addresses: ['10.0.0.100'], hash: 'source-ip' },
      ports: [{ protocol: 'tcp', first: 80 }, { first: 443 }],
      members: [
        { personality: 'real-10-0-0-11', weight: 2 },
        { personality: 'real-10-0-0-12', weight: 1 },
      ],
      health: { tcp: 8080, everyMs: 6_000 },
    },
  ]);
  t.equal(config.services.length, 1);
  t.end();
});

test('every line is carried over or told of, with its reason', (t) => {
  const { notes, at } = converted(file);
  const lineOf = (text: string) => file.split('\n').findIndex((line) => line.includes(text)) + 1;
  const reasons: readonly (readonly [string, RegExp])[] = [
    ['global_defs', /keepalived itself/],
    ['vrrp_script', /workload’s own unit/],
    ['state MASTER', /decides/],
    ['virtual_router_id', /by name/],
    ['priority', /pool/],
    ['advert_int', /timing/],
    ['authentication', /cluster key/],
    ['label eth0:1', /label eth0:1 is not carried/],
    ['track_script', /lease ends/],
    ['10.2.0.10', /no subnet: \/24/],
    ['lb_algo', /no rr/],
    ['connect_timeout', /two failures/],
    ['HTTP_GET', /that of another is taken/],
    ['10.9.0.12', /not on the service’s network/],
    ['fwmark', /firewall mark/],
  ];
  for (const [text, reason] of reasons) t.match(at(lineOf(text)), reason, text);
  const silent = ['vrrp_sync_group', 'interface eth0', 'unicast_src_ip', 'virtual_routes'].map(
    lineOf,
  );
  t.notOk(
    notes.some(({ line }) => silent.includes(line)),
    'what was carried over is not told',
  );
  t.notMatch(JSON.stringify(notes.map(({ text }) => text)), /secret/, 'no password is repeated');
  t.end();
});

test('what stands on one line with something else is told of by itself', (t) => {
  const { at } = converted(
    'virtual_server 10.0.0.5 53 {\n real_server 10.0.0.6 53 { inhibit_on_failure\n }\n real_server 10.0.0.7 53 { DNS_CHECK { type txt } }\n}\n',
  );
  t.match(at(2), /personality now.*two failures/);
  t.match(at(4), /personality now.*health checks/);
  t.end();
});

test('an HTTP check is carried over, with its path and port', (t) => {
  const { config, parsed, notes } = converted(
    `virtual_server 10.0.0.5 80 {
  real_server 10.0.0.6 80 {
    HTTP_GET {
      url {
        path /health
        status_code 200
      }
      connect_port 8080
    }
  }
}
`,
  );
  t.equal(parsed.ok, true);
  t.same(config.services[0]?.health, { http: 8080, path: '/health', everyMs: 200 });
  t.same(
    notes.filter(({ line }) => line > 2).map(({ line }) => line),
    [6],
  );
  t.end();
});

test('an address stays with its instance where its virtual server comes to nothing', (t) => {
  const file = (real: string) => `vrrp_instance a {
  virtual_ipaddress {
    10.0.0.5/24
  }
}
virtual_server 10.0.0.5 80 {
  lb_kind NAT
  real_server ${real} 80 {
    weight 3
    TCP_CHECK {
    }
  }
}
`;
  const elsewhere = converted(file('192.168.1.2'));
  t.same(elsewhere.config.services, []);
  t.match(elsewhere.config.personalities, [
    { name: 'a', networks: [{ addresses: ['10.0.0.5/24'] }] },
  ]);
  t.match(elsewhere.at(6), /left out/);
  t.match([elsewhere.at(8), elsewhere.at(9)], [/not on the service’s network/, '']);
  const here = converted(file('10.0.0.6'));
  t.equal(here.config.services.length, 1);
  t.same(
    here.config.personalities.map(({ name }) => name),
    ['real-10-0-0-6'],
  );
  t.end();
});

test('variables count, and what is for one host alone is told of', (t) => {
  const { config, parsed, at, notes } = converted(
    `$VIP=10.0.0.10   # the address
$NIC=bond0.100
@left $PRIORITY=150
@right $PRIORITY=100
vrrp_instance a {
  interface \${NIC}
  priority $PRIORITY
  @left unicast_src_ip 10.0.0.1
  @right unicast_src_ip 10.0.0.2
  virtual_ipaddress {
    $VIP/24   # not $THIS
    $NOBODY/24
  }
}
`,
  );
  t.equal(parsed.ok, true);
  t.match(config.networks, [{ fabric: 'vlan', id: 100, subnets: ['10.0.0.0/24'] }]);
  t.same(config.personalities[0]?.networks[0]?.addresses, ['10.0.0.10/24']);
  t.match([at(3), at(8)], [/for some hosts alone/, /for some hosts alone/]);
  t.equal(notes.find(({ line }) => line === 7)?.text, 'priority 150');
  t.match(at(12), /\$NOBODY is not defined/);
  t.same([at(1), at(2), at(11)], ['', '', '']);
  t.end();
});

test('variables of variables end', (t) => {
  const text = [...'abcdefghijklmnopqrstuvwxyz']
    .map((name, index, all) => `$${name}=$${all[index - 1]}$${all[index - 1]}`)
    .with(0, '$a=10.0.0.1')
    .join('\n');
  const { faults } = readKeepalived(`${text}\nx $z\n`);
  t.ok(faults.some(({ why }) => /too long/.test(why)));
  t.end();
});

test('two hosts without a third, and none at all, are told of', (t) => {
  const two = converted(
    'vrrp_instance a {\n interface eth0\n unicast_src_ip 10.0.0.1\n unicast_peer {\n 10.0.0.2\n }\n virtual_ipaddress {\n 10.0.0.9/24\n }\n}\n',
  );
  t.equal(two.parsed.ok, true);
  t.match(two.at(0), /third machine/);
  const none = converted(
    'vrrp_instance a {\n interface eth0\n virtual_ipaddress {\n 2001:db8::9/64\n }\n}\n',
  );
  t.equal(none.parsed.ok, true, none.parsed.ok ? '' : JSON.stringify(none.parsed.problems));
  t.match(none.at(0), /no host is named/);
  t.end();
});

test('an address with a length that is none is told of, and the rest is carried over', (t) => {
  for (const wrong of ['10.0.0.9/99', '10.0.0.9/x', '10.0.0.9/-1', '10.0.0.9/']) {
    const text = `vrrp_instance a {\n virtual_ipaddress {\n  ${wrong}\n  10.0.0.10/24\n }\n}\n`;
    const { config, notes } = convertKeepalived(text);
    t.same(config.personalities[0]?.networks[0]?.addresses, ['10.0.0.10/24'], wrong);
    t.match(
      notes.find(({ line }) => line === 3),
      { text: wrong, why: /no length of a prefix/ },
    );
  }
  t.end();
});

test('instances whose names are one name here stay two personalities', (t) => {
  const long = 'an-instance-whose-name-has-more-characters-than-forty';
  for (const [one, other] of [
    [`${long}-a`, `${long}-b`],
    ['web_1', 'web.1'],
  ]) {
    const instance = (name: string | undefined, address: string) =>
      `vrrp_instance ${name} {\n virtual_ipaddress { ${address} }\n}\n`;
    const text = instance(one, '10.0.0.10/24') + instance(other, 'fd00::10/64');
    const { config, notes } = convertKeepalived(text);
    t.same(
      config.personalities.map(({ networks }) => networks[0]?.addresses),
      [['10.0.0.10/24'], ['fd00::10/64']],
    );
    const [, second] = config.personalities.map(({ name }) => name);
    t.match(second, /^[a-z0-9-]{1,40}$/);
    t.match(
      notes.find(({ line }) => line === 4),
      { why: `it is called ${second} here: another has its name` },
    );
  }
  t.end();
});

test('words, braces, quotes and comments', (t) => {
  const { directives, faults } = readKeepalived('a "b { c" d # e\nf\n{ g h } i\nj {');
  t.match(directives, [
    { words: ['a', 'b { c', 'd'], block: [] },
    { words: ['f'], line: 2, block: [{ words: ['g', 'h'] }] },
    { words: ['i'] },
    { words: ['j'] },
  ]);
  t.match(faults, [{ line: 4, why: /no \}/ }]);
  t.match(readKeepalived('}').faults, [{ line: 1 }]);
  t.end();
});

test('whatever the file is, it ends, and what comes out can be written', (t) => {
  const word = fc.constantFrom(
    'vrrp_instance',
    'virtual_server',
    'real_server',
    'virtual_ipaddress',
    'interface',
    'eth0',
    'eth0.7',
    '10.0.0.1',
    '10.0.0.9/24',
    'fd00::1/64',
    '80',
    '{',
    '}',
    '\n',
    '"',
    'group',
    'vrrp_sync_group',
    'via',
    'default',
    'virtual_routes',
    '0',
    '99999',
    'weight',
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 80 }), (words) => {
      const { config } = convertKeepalived(words.join(' '));
      parseClusterFile(writeClusterFile(config));
    }),
    { numRuns: 300 },
  );
  t.doesNotThrow(() => convertKeepalived('{'.repeat(100_000)));
  t.end();
});

test('the command: a cluster file on stdout, FILE:LINE of the rest on stderr', async (t) => {
  const path = join(t.testdir(), 'keepalived.conf');
  writeFileSync(path, file);
  const ran = await understudy(['import', 'keepalived', path]);
  t.equal(ran.code, 0, ran.stderr);
  t.equal(parseClusterFile(ran.stdout).ok, true);
  t.match(ran.stderr, `${path}:9: state MASTER: `);
  writeFileSync(path, 'global_defs {\n}\n');
  const empty = await understudy(['import', 'keepalived', path, '--json']);
  t.match([empty.code, JSON.parse(empty.stdout)], [1, { error: { code: 'US_IMPORT_EMPTY' } }]);
  writeFileSync(path, 'vrrp_instance a {\n virtual_ipaddress {\n  10.0.0.300/24\n');
  const unusable = await understudy(['import', 'keepalived', path]);
  t.match(unusable.stderr, `${path}:3: 10.0.0.300/24: `, 'why nothing came of it');
  t.match(unusable.stderr, `${path}:2: there is no } for this {`);
  const none = await understudy(['import', 'keepalived', `${path}.none`]);
  t.match([none.code, none.stderr], [2, /US_FILE_UNREADABLE/]);
});
