import { test } from 'tap';
import { emptyLayout, Planner } from '../../src/dispatch/layout.js';
import { packNotes } from '../../src/dispatch/notes.js';
import { rehearsals, rehearse } from '../../src/dispatch/rehearsal.js';
import { packRing } from '../../src/dispatch/ring-bytes.js';
import { buildTable } from '../../src/dispatch/table.js';
import { TableShelf } from '../../src/dispatch/table-shelf.js';
import type { DispatchSpec } from '../../src/dispatch/types.js';

const spec = (service: string, members: number): DispatchSpec => ({
  service,
  namespace: `svc-${service}`,
  incarnation: 1,
  mac: '02:00:00:00:01:00',
  addresses: ['10.10.0.100'],
  ports: [{ protocol: 'tcp', first: 80, last: 80 }],
  hash: 'source-ip-port',
  members: Array.from({ length: members }, (_, at) => ({
    personality: `web${at}`,
    mac: `02:00:00:00:00:${(at % 256).toString(16).padStart(2, '0')}`,
    weight: 1,
    healthy: true,
  })),
  seed: '00112233445566778899aabbccddeeff',
});

test('what is on the shelf is what would be built, and there is an end of it', (t) => {
  const shelf = new TableShelf();
  const { members } = spec('web', 3);
  const down = members.map((member, at) => (at === 1 ? { ...member, healthy: false } : member));
  for (const list of [members, down, [...members].reverse(), members]) {
    const built = buildTable({ service: 'web', members: list });
    t.same(shelf.tableOf({ service: 'other', members: list }), built);
  }
  t.equal(shelf.size, 2, 'the order in the file makes no other table');
  for (let weight = 2; weight < 40; weight += 1) {
    shelf.tableOf({ service: 'web', members: members.map((member) => ({ ...member, weight })) });
  }
  t.equal(shelf.size, 16);
  t.end();
});

test('a change that was rehearsed builds no table, and a rehearsal changes nothing', (t) => {
  const built: string[] = [];
  const shelf = new TableShelf();
  const web = spec('web', 3);
  const first = new Planner(emptyLayout, 1_000, shelf.tableOf);
  first.put(web);
  const { layout } = first.finish();
  const bytes = () => [
    packNotes(layout),
    ...[...layout.rings.values()].map(({ ring }) =>
      packRing(ring, (mac) => layout.ids.indexOf(mac), 0),
    ),
  ];
  const before = bytes();
  for (const { member } of rehearsals([web])) rehearse(layout, web, member, shelf.tableOf);
  t.same(bytes(), before);
  const size = shelf.size;
  const members = web.members.map((one, at) => (at === 2 ? { ...one, healthy: false } : one));
  const planned = (tables: ConstructorParameters<typeof Planner>[2]) => {
    const planner = new Planner(layout, 2_000, tables);
    planner.put({ ...web, members });
    return planner.finish();
  };
  t.same(
    planned((wanted) => {
      built.push(wanted.service);
      return shelf.tableOf(wanted);
    }),
    planned(buildTable),
    'and is the same',
  );
  t.same(built, ['web']);
  t.equal(shelf.size, size, 'its table was there');
  t.end();
});

test('each set of members is rehearsed once, within a bound', (t) => {
  const of = (...specs: DispatchSpec[]) =>
    rehearsals(specs).map(({ service, member }) => `${service} ${member}`);
  t.same(of(spec('a', 2), spec('b', 2)), ['b 0', 'b 1'], 'two services with the same members');
  t.same(of(spec('a', 9), spec('b', 65)), ['a 0'], 'one of many members, none of very many');
  const eight = [1, 2, 3].map((count) => {
    const one = spec(`s${count}`, 8);
    const members = one.members.map((member) => ({
      ...member,
      personality: `${count}${member.personality}`,
    }));
    return { ...one, members };
  });
  t.equal(of(...eight).length, 16);
  t.end();
});
