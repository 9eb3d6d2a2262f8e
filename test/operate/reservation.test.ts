import { test } from 'tap';
import { reportKey } from '../../src/control/keys.js';
import { keyOwner, objections, ownerText, volumeToClear } from '../../src/operate/reservation.js';
import { reservationKey } from '../../src/storage/reservation-key.js';
import { clusterConfig, World, web1, withVolume } from '../control/world.js';
import { codeOf } from '../storage/attached.js';

const config = withVolume(clusterConfig(), 'data', 'web1');
const key = (host: string, epoch: number, cluster = 'demo') =>
  reservationKey({ cluster, host, epoch });

test('a key tells whose it is, as far as the file knows', (t) => {
  const text = (found: bigint, known = true) =>
    ownerText(keyOwner(found, known ? config : undefined), known ? 'demo' : undefined);
  t.equal(text(key('h2', 7)), 'epoch 7 of h2');
  t.equal(text(key('gone', 3)), 'epoch 3 of a host that the file does not name');
  t.equal(text(key('h2', 7, 'other')), 'not of cluster demo');
  t.equal(text(key('h2', 7), false), 'not known');
  t.end();
});

test('nothing speaks against clearing what an earlier epoch of a host that is heard has left', (t) => {
  const world = new World(config);
  t.same(objections(world.view, 'data', [key('h1', 1)]), []);
  t.same(objections(world.view, 'data', []), []);
  t.end();
});

test('an owner does: by its assignment, or while its host still has the volume', (t) => {
  const world = new World(config);
  world.assign(web1, 'h1', { epoch: 4 });
  t.same(objections(world.view, 'data', [key('h1', 4)]), ['web1 has it on h1, epoch 4']);
  world.assign(web1, null, { epoch: 5 });
  t.same(objections(world.view, 'data', [key('h1', 4)]), []);
  const said = { name: 'web1', epoch: 4, phase: 'stopping', detail: '' };
  const volume = { name: 'data', lun: 0, device: '', mount: '', portal: '', target: '' };
  const volumes = [{ ...volume, targetLun: 1, serial: '', sizeBytes: 0 }];
  const nothing = { services: [], health: [] };
  const report = { ...nothing, personalities: [{ ...said, volumes }] };
  world.write(reportKey('h1'), { incarnation: 1, ...report });
  t.same(objections(world.view, 'data', [key('h1', 4)]), ['h1 has not let go of it yet, for web1']);
  world.enrol('h1', 2);
  t.same(objections(world.view, 'data', [key('h1', 4)]), [], 'before it was started anew');
  t.end();
});

test('so does a host that may go on, unless it is proven off; and a key of somebody else', (t) => {
  const world = new World(config);
  for (const controller of ['h1', 'h3']) world.vote('h2', 1, controller);
  t.match(objections(world.view, 'data', [key('h2', 4)]), [/of h2, which is not heard/]);
  world.fence('h2', 1);
  t.same(objections(world.view, 'data', [key('h2', 4)]), []);
  t.match(objections(world.view, 'data', [key('h1', 1, 'other'), key('gone', 1)]), [
    /not of this cluster/,
    /of a host that the file does not name/,
  ]);
  t.end();
});

test('a volume that the definition does not have', async (t) => {
  const look = async (name: string) => volumeToClear(new World(config).view, name);
  t.equal((await look('data')).name, 'data');
  t.equal(await codeOf(look('dta')), 'US_RESERVATION_VOLUME');
});
