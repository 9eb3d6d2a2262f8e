import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { assignmentKey, configKey } from '../../src/control/keys.js';
import type { AuditRecord } from '../../src/control/records.js';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { lookAtReservation, removeRegistrations } from '../../src/storage/reservation-clear.js';
import { keyText, reservationKey } from '../../src/storage/reservation-key.js';
import { EtcdStore } from '../../src/store/etcd.js';
import { understudy } from '../cli/run.js';
import { clusterConfig, withVolume } from '../control/world.js';
import { startOnLoopback } from '../store/etcd-cluster.js';
import { codeOf, freshTarget } from './attached.js';
import { startLunServer } from './lun-server.js';

const block = Buffer.alloc(512, 0x5a);
const lun = 1;
const keyOf = (host: string, epoch: number) => reservationKey({ cluster: 'demo', host, epoch });

test('reservations that were left, on tgt', async (t) => {
  const server = await startLunServer(t);
  const login = async (target: string, name: string) => {
    const session = await IscsiSession.login([server.portal], target, `iqn.2026-11.test:${name}`);
    t.teardown(() => session.close());
    return session;
  };
  const own = async (session: IscsiSession, key: bigint, reserve: boolean) => {
    const order = { type: 5, key: 0n, serviceActionKey: key } as const;
    await session.persistentReserve(lun, { ...order, action: 'register-and-ignore' });
    if (!reserve) return;
    await session.persistentReserve(lun, { ...order, key, action: 'reserve' });
  };

  await t.test(
    'those that were named go, with the reservation; who came later stays',
    async (t) => {
      const { name } = freshTarget(server);
      const [holder, other, later] = await Promise.all(
        ['a', 'b', 'c'].map((one) => login(name, one)),
      );
      const person = await login(name, 'person');
      if (holder === undefined || other === undefined || later === undefined) return;
      t.same(await removeRegistrations(person, lun, [1n]), [], 'nothing is there');
      await own(holder, 11n, true);
      await own(other, 12n, false);
      const seen = (await lookAtReservation(person, lun)).registrations.map(({ key }) => key);
      t.same(seen, [11n, 12n]);
      await own(later, 13n, false);
      t.equal(await codeOf(person.write(lun, 8n, block, 512)), 'US_STORAGE_RESERVED');
      t.same(await removeRegistrations(person, lun, seen), [11n, 12n]);
      const left = await lookAtReservation(person, lun);
      t.same(
        left.registrations.map(({ key }) => key),
        [13n],
        'nor is the person’s own key left',
      );
      t.equal(left.holder, undefined);
      t.equal(await codeOf(person.write(lun, 8n, block, 512)), 'no error');
      t.same(await removeRegistrations(person, lun, seen), [], 'once more');
    },
  );

  await t.test('by the command, where no cluster knows the LUN', async (t) => {
    const { name } = freshTarget(server);
    const place = ['--portal', server.portal, '--target', name, '--lun', String(lun)];
    const run = (...args: readonly string[]) => understudy(['reservation', ...args, ...place]);
    t.match((await run('show')).stdout, /LUN 1 of \S+ +free +nobody is registered/);
    t.match(await run('clear'), { code: 0, stdout: /nothing to do/ });
    await own(await login(name, 'left'), 0x2an, true);
    const shown = JSON.parse((await run('show', '--json')).stdout);
    const key = keyText(0x2an);
    t.match(shown, [{ volume: null, registered: [{ key, owner: 'not known' }], holder: { key } }]);
    const refused = await run('clear');
    t.match(refused, { code: 1, stderr: /^US_RESERVATION_REFUSED: .*\n.*no cluster is asked/ });
    t.match(await run('clear', '--yes', '--json'), { code: 0, stdout: new RegExp(key) });
    t.match((await run('show')).stdout, /nobody is registered/);
    t.match(await understudy(['reservation', 'clear']), { code: 2, stderr: /name a volume/ });
    const half = ['reservation', 'show', '--lun', '1'];
    t.match(await understudy(half), { code: 2, stderr: /go together/ });
    const nowhere = place.map((word) => (word === name ? 'iqn.2026-11.test:none' : word));
    const lost = await understudy(['reservation', 'show', ...nowhere]);
    t.match(lost, { code: 1, stderr: /^US_STORAGE_TARGET_NOT_FOUND/ });
  });

  await t.test('by the command, for a volume: not while an owner has it', async (t) => {
    const { name: target } = freshTarget(server);
    const etcd = await startOnLoopback(t, 1);
    const { endpoints } = etcd;
    const store = new EtcdStore({ endpoints, prefix: '/understudy/demo/' });
    await store.start(new AbortController().signal);
    t.teardown(() => store.stop());
    const put = (key: string, value: object) =>
      store.transact({ compare: [], write: [{ kind: 'put', key, value: JSON.stringify(value) }] });
    const place = { portals: [server.portal], target, lun };
    const config = withVolume(
      withVolume(clusterConfig(), 'data', 'web1', place),
      ...(['away', 'web2', { ...place, target: 'iqn.2026-11.test:none' }] as const),
    );
    await put(configKey, { generation: 1, config });
    const record = { incarnation: 1, bootToken: 'b' };
    for (const { name } of config.hosts) await put(`hosts/${name}`, record);
    const owned = { incarnation: 1, state: 'assigned', to: null, failover: null, epoch: 3 };
    await put(assignmentKey('personality', 'web1'), { ...owned, host: 'h1' });
    const file = join(server.directory, 'agent.yaml');
    const agent = {
      host: 'h1',
      cluster: 'demo',
      store: { endpoints },
      underlayAddress: '127.0.0.1',
    };
    writeFileSync(file, JSON.stringify(agent));
    const run = (...args: readonly string[]) =>
      understudy(['reservation', ...args, '--config', file]);

    await own(await login(target, 'owner'), keyOf('h1', 3), true);
    const all = await run('show');
    t.match(all.stdout, /^data +0x\w+ +holds it +epoch 3 of h1/m);
    t.match(all.stdout, /^away +not known +US_STORAGE_TARGET_NOT_FOUND/m);
    const why = /^US_RESERVATION_REFUSED: .*volume data\n.*web1 has it on h1, epoch 3\n.*--yes/;
    t.match(await run('clear', 'data'), { code: 1, stderr: why });
    t.match((await run('show', 'data')).stdout, /epoch 3 of h1/, 'it stands');

    await put(assignmentKey('personality', 'web1'), { ...owned, host: null, epoch: 4 });
    t.match(await run('clear', 'data'), { code: 0, stdout: /thrown out/ });
    t.match((await run('show', 'data')).stdout, /nobody is registered/);
    t.match(await run('clear', 'none'), {
      code: 1,
      stderr: /^US_RESERVATION_VOLUME.*\n.*data, away/,
    });
    const audit = (await store.list('audit/')).entries.map(
      ({ value }) => JSON.parse(value) as AuditRecord,
    );
    const detail = `clear the reservation of data: ${keyText(keyOf('h1', 3))}`;
    t.match(audit, [{ what: 'reservation', subject: 'data', detail }]);
  });
});
