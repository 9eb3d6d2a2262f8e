import { test } from 'tap';
import { followEvents } from '../../src/cli/follow-events.js';
import { unsettledRoles } from '../../src/cli/run/apply.js';
import { statusText } from '../../src/cli/run/status.js';
import { watchStatus } from '../../src/cli/watch-status.js';
import { reportKey } from '../../src/control/keys.js';
import type { EventRecord } from '../../src/control/records.js';
import { type Status, statusOf } from '../../src/control/status.js';
import { configOf, type View } from '../../src/control/view.js';
import type { Entry, WatchListener } from '../../src/store/types.js';
import { clusterConfig, World, web, web1, web2 } from '../control/world.js';
import { VirtualTimers } from '../store/virtual-timers.js';

const entry = (key: string, revision: number, text: string): Entry => ({
  key,
  value: JSON.stringify({ atUnixMs: 0, host: 'h1', kind: 'vote', subject: 'h2', text }),
  createRevision: revision,
  modRevision: revision,
});

test('events are told once each, also those of a host whose clock is behind', async (t) => {
  const stop = new AbortController();
  const listeners: WatchListener[] = [];
  const watch = (_: string, listener: WatchListener) => listeners.push(listener);
  const told: string[] = [];
  const following = followEvents(
    { watch },
    ({ text }: EventRecord) => told.push(text),
    stop.signal,
  );
  const [listener] = listeners;
  listener?.snapshot({ entries: [entry('events/200-h1', 5, 'first')], revision: 5 });
  const late = entry('events/100-h2', 6, 'by a clock that is behind');
  listener?.changes([{ kind: 'put', entry: late }], 6);
  // A gap: everything comes again, with something new in it, and something that is no event.
  const foreign = { ...entry('events/x', 7, ''), value: 'not JSON' };
  const newest = entry('events/150-h2', 8, 'newest');
  listener?.snapshot({
    entries: [late, newest, entry('events/200-h1', 5, 'first'), foreign],
    revision: 8,
  });
  stop.abort();
  await following;
  t.same(told, ['first', 'by a clock that is behind', 'newest']);
});

class Source {
  known = false;
  readonly world = new World();
  #listeners: (() => void)[] = [];

  get view(): View {
    return this.world.view;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  tell(): void {
    this.known = true;
    for (const listener of this.#listeners) listener();
  }
}

test('status --watch shows each change once, and goes on without a quorum', async (t) => {
  const source = new Source();
  const timers = new VirtualTimers();
  const stop = new AbortController();
  const shown: Status[] = [];
  let leader = async (): Promise<string | undefined> => 'h1';
  const watching = watchStatus(
    {
      source,
      timers,
      leader: () => leader(),
      statusOf: (view, who) => {
        const config = configOf(view);
        return config === undefined ? undefined : statusOf(view, config, who, () => new Map());
      },
      show: (status) => shown.push(status),
    },
    stop.signal,
  );
  await timers.runMs(5_000);
  t.same(shown, [], 'nothing before anything is known');
  source.tell();
  await timers.runMs(0);
  t.match(shown, [{ leader: 'h1', quorum: true }]);
  source.tell();
  await timers.runMs(3_000);
  t.equal(shown.length, 1, 'news that change nothing are not shown');
  source.world.assign(web1, 'h2');
  source.tell();
  await timers.runMs(0);
  t.match(shown[1], { personalities: [{ name: 'web1', host: 'h2' }, {}] });
  leader = () => Promise.reject(new Error('no majority'));
  await timers.runMs(1_000);
  t.match(shown[2], { leader: null, quorum: false });
  if (shown[2] !== undefined) t.match(statusText(shown[2]), /no quorum.*traffic goes on/);
  leader = async () => 'h3';
  await timers.runMs(1_000);
  t.match(shown[3], { leader: 'h3', quorum: true });
  stop.abort();
  await watching;
  t.equal(shown.length, 4);
});

test('apply --wait waits for what starts and for what leaves', (t) => {
  const world = new World(clusterConfig({ services: [] }));
  world.assign(web1, 'h1');
  t.same(unsettledRoles(world.view), { total: 2, waiting: ['web1 starting', 'web2 unplaced'] });
  const run = (name: string, host: string) =>
    world.write(reportKey(host), {
      ...{ incarnation: 1, services: [], health: [] },
      personalities: [{ name, epoch: 1, phase: 'running', detail: '', volumes: [] }],
    });
  world.assign(web2, 'h2');
  world.assign(web, 'h3');
  run('web1', 'h1');
  run('web2', 'h2');
  t.same(unsettledRoles(world.view), { total: 3, waiting: ['web leaving'] });
  world.assign(web, null, { epoch: 2 });
  t.same(unsettledRoles(world.view), { total: 2, waiting: [] });
  t.end();
});
