import { test } from 'tap';
import { parseClusterFile } from '../../src/config/parse.js';

const file = (service: string) => `
cluster: c
controllers: [h1]
store: {endpoints: ["http://10.0.0.9:2379"]}
hosts: [{name: h1, address: 10.0.0.1}]
networks: [{name: blue, id: 100, fabric: vxlan, subnet: 10.1.0.0/16}]
personalities: [{name: p, networks: [{network: blue, address: 10.1.0.1/16}]}]
services:
  - {name: z, network: blue, ports: [{protocol: tcp, port: 80}], members: [p], ${service}}
`;

function planes(service: string) {
  const parsed = parseClusterFile(file(service));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config.services.map(({ name, dataPlane }) => [name, dataPlane]);
}

test('several dispatchers of one service hash alike, whatever their kernels take', (t) => {
  const several = 'address: 192.0.2.1, dispatchers: [10.1.0.2, 10.1.0.3]';
  t.strictSame(planes(several), [
    ['z-1', 'bpf'],
    ['z-2', 'bpf'],
  ]);
  t.strictSame(planes(`${several}, dataPlane: nftables`), [
    ['z-1', 'nftables'],
    ['z-2', 'nftables'],
  ]);
  t.strictSame(planes('address: 10.1.0.9'), [['z', undefined]]);
  t.end();
});
