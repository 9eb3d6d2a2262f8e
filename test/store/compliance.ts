import type { Test } from 'tap';
import type { Change, Store } from '../../src/store/types.js';

/** Makes fresh handles onto one and the same store, each test under a prefix of its own. */
export type Handles = (t: Test) => Promise<() => Store>;

const put = (key: string, value: string) => ({ kind: 'put', key, value }) as const;

/** Collects what a watch tells and lets a test wait for it. */
class Heard {
  readonly lines: string[] = [];
  readonly #waiters = new Set<() => void>();

  readonly listener = {
    snapshot: ({ entries }: { entries: readonly { key: string; value: string }[] }) => {
      this.#add(`snapshot ${entries.map(({ key, value }) => `${key}=${value}`).join(' ')}`.trim());
    },
    changes: (changes: readonly Change[]) => {
      for (const change of changes) {
        this.#add(
          change.kind === 'put'
            ? `put ${change.entry.key}=${change.entry.value}`
            : `delete ${change.key}`,
        );
      }
    },
  };

  until(condition: (lines: readonly string[]) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!condition(this.lines)) return;
        this.#waiters.delete(look);
        resolve();
      };
      this.#waiters.add(look);
      look();
    });
  }

  #add(line: string): void {
    this.lines.push(line);
    for (const waiter of this.#waiters) waiter();
  }
}

/** Everything that the interface promises, run against each adapter. */
export function storeCompliance(t: Test, handles: Handles): void {
  t.test('each comparison decides a transaction', async (t) => {
    const store = (await handles(t))();
    const first = await store.transact({
      compare: [{ kind: 'absent', key: 'a' }],
      write: [put('a', '1')],
    });
    t.ok(first.done);
    const entry = await store.get('a');
    t.match(entry, {
      key: 'a',
      value: '1',
      modRevision: first.revision,
      createRevision: first.revision,
    });
    const cases = [
      { compare: { kind: 'absent', key: 'a' }, done: false },
      { compare: { kind: 'absent', key: 'b' }, done: true },
      { compare: { kind: 'exists', key: 'a' }, done: true },
      { compare: { kind: 'exists', key: 'b' }, done: false },
      { compare: { kind: 'revision', key: 'a', modRevision: first.revision }, done: true },
      { compare: { kind: 'revision', key: 'a', modRevision: first.revision + 1 }, done: false },
      { compare: { kind: 'revision', key: 'b', modRevision: 0 }, done: true },
      { compare: { kind: 'value', key: 'a', value: '1' }, done: true },
      { compare: { kind: 'value', key: 'a', value: '2' }, done: false },
      { compare: { kind: 'value', key: 'b', value: '' }, done: false },
    ] as const;
    for (const { compare, done } of cases) {
      const result = await store.transact({ compare: [compare], write: [put('other', 'x')] });
      t.equal(result.done, done, JSON.stringify(compare));
    }
  });

  t.test('one comparison that fails keeps everything from being written', async (t) => {
    const store = (await handles(t))();
    await store.transact({ compare: [], write: [put('a', '1')] });
    const result = await store.transact({
      compare: [
        { kind: 'exists', key: 'a' },
        { kind: 'exists', key: 'b' },
      ],
      write: [put('a', '2'), put('c', '3')],
    });
    t.equal(result.done, false);
    t.same(
      result.current.map(({ key, value }) => `${key}=${value}`),
      ['a=1'],
      'the answer shows what the compared keys hold',
    );
    t.equal(await store.get('c'), undefined);
    t.equal((await store.get('a'))?.value, '1');
  });

  t.test('counting by compare-and-swap from several handles loses nothing', async (t) => {
    const handle = await handles(t);
    const stores = [handle(), handle(), handle()];
    await stores[0]?.transact({ compare: [], write: [put('n', '0')] });
    const count = async (store: Store, index: number) => {
      for (let done = 0; done < 20; ) {
        const entry = await store.get('n');
        if (entry === undefined) throw new Error('the counter is gone');
        const { modRevision } = entry;
        const mark = `counted/${index}/${done}`;
        const result = await store.transact({
          compare: [
            { kind: 'revision', key: 'n', modRevision },
            { kind: 'absent', key: mark },
          ],
          write: [put('n', String(Number(entry.value) + 1)), put(mark, '')],
        });
        // Not done, but marked: an earlier try was carried out, and its answer came too late.
        if (result.done || result.current.some(({ key }) => key === mark)) done++;
      }
    };
    await Promise.all(stores.map(count));
    t.equal((await stores[0]?.get('n'))?.value, '60');
  });

  t.test('a list is sorted and keeps to its prefix', async (t) => {
    const store = (await handles(t))();
    for (const key of ['a/2', 'ab', 'a/1', 'b', 'a']) {
      await store.transact({ compare: [], write: [put(key, '')] });
    }
    t.same(
      (await store.list('a/')).entries.map(({ key }) => key),
      ['a/1', 'a/2'],
    );
    t.equal((await store.list('')).entries.length, 5);
    t.same((await store.list('nothing/')).entries, []);
  });

  t.test('a rewritten key keeps its creation, a deleted one starts anew', async (t) => {
    const store = (await handles(t))();
    const { revision } = await store.transact({ compare: [], write: [put('a', '1')] });
    await store.transact({ compare: [], write: [put('a', '2')] });
    t.match(await store.get('a'), { value: '2', createRevision: revision });
    await store.transact({ compare: [], write: [{ kind: 'delete', key: 'a' }] });
    t.equal(await store.get('a'), undefined);
    await store.transact({ compare: [], write: [put('a', '3')] });
    t.ok(((await store.get('a'))?.createRevision ?? 0) > revision);
  });

  t.test('a watch tells the content first, then every change in order', async (t) => {
    const handle = await handles(t);
    const [reader, writer] = [handle(), handle()];
    await writer.transact({ compare: [], write: [put('w/a', '0'), put('x/a', 'no')] });
    const heard = new Heard();
    const stop = new AbortController();
    reader.watch('w/', heard.listener, stop.signal);
    await heard.until((lines) => lines.length > 0);
    for (let index = 1; index <= 50; index++) {
      // Compared, so that a try that is repeated, because its answer came too late, writes only once.
      const before = { kind: 'value', key: 'w/a', value: String(index - 1) } as const;
      await writer.transact({ compare: [before], write: [put('w/a', String(index))] });
    }
    await writer.transact({
      compare: [{ kind: 'exists', key: 'w/a' }],
      write: [put('x/a', 'no'), { kind: 'delete', key: 'w/a' }],
    });
    await heard.until((lines) => lines.at(-1) === 'delete w/a');
    const expected = Array.from({ length: 50 }, (_, index) => `put w/a=${index + 1}`);
    t.same(heard.lines, ['snapshot w/a=0', ...expected, 'delete w/a']);
    stop.abort();
    await writer.transact({ compare: [], write: [put('w/a', 'after')] });
    await writer.get('w/a');
    t.equal(heard.lines.at(-1), 'delete w/a', 'an aborted watch is silent');
  });

  t.test('a watch on an empty prefix begins with an empty snapshot', async (t) => {
    const store = (await handles(t))();
    const heard = new Heard();
    const stop = new AbortController();
    t.teardown(() => stop.abort());
    store.watch('', heard.listener, stop.signal);
    await heard.until((lines) => lines.length > 0);
    t.same(heard.lines, ['snapshot']);
  });

  t.test('office is held by one, and handed on when it is left', async (t) => {
    const handle = await handles(t);
    const [first, second] = [handle(), handle()];
    const log: string[] = [];
    const waiters = new Set<() => void>();
    const tell = (line: string) => {
      log.push(line);
      for (const waiter of waiters) waiter();
    };
    const until = (line: string) =>
      new Promise<void>((resolve) => {
        const look = () => {
          if (!log.includes(line)) return;
          waiters.delete(look);
          resolve();
        };
        waiters.add(look);
        look();
      });
    const stops = { a: new AbortController(), b: new AbortController() };
    t.teardown(() => {
      stops.a.abort();
      stops.b.abort();
    });
    const guards = new Map<string, Parameters<Parameters<Store['campaign']>[2]['elected']>[0]>();
    const stand = (store: Store, name: 'a' | 'b') =>
      store.campaign(
        'leader',
        name,
        {
          elected: (guard) => {
            guards.set(name, guard);
            tell(`${name} elected`);
          },
          lost: () => tell(`${name} lost`),
        },
        stops[name].signal,
      );
    stand(first, 'a');
    await until('a elected');
    stand(second, 'b');
    t.equal(await second.holder('leader'), 'a');
    const guard = guards.get('a');
    if (guard === undefined) throw new Error('no guard was given');
    t.ok((await first.transact({ compare: [guard], write: [put('by', 'a')] })).done);
    stops.a.abort();
    await until('b elected');
    t.ok(log.indexOf('a lost') >= 0 && log.indexOf('a lost') < log.indexOf('b elected'));
    t.equal(await first.holder('leader'), 'b');
    const late = await first.transact({ compare: [guard], write: [put('by', 'a, late')] });
    t.equal(late.done, false, 'what the old holder sends late is refused');
  });

  t.test('a watch misses nothing that several write at once', async (t) => {
    const handle = await handles(t);
    const heard: string[] = [];
    const revisions: number[] = [];
    const stop = new AbortController();
    t.teardown(() => stop.abort());
    const all = new Promise<void>((resolve) => {
      const add = (key: string) => {
        heard.push(key);
        if (heard.length === 90) resolve();
      };
      handle().watch(
        'c/',
        {
          snapshot: ({ entries }) => {
            for (const { key } of entries) add(key);
          },
          changes: (changes, revision) => {
            revisions.push(revision);
            for (const change of changes) if (change.kind === 'put') add(change.entry.key);
          },
        },
        stop.signal,
      );
    });
    const write = async (store: Store, name: string) => {
      for (let index = 0; index < 30; index++) {
        const key = `c/${name}${index}`;
        await store.transact({ compare: [{ kind: 'absent', key }], write: [put(key, '')] });
      }
    };
    await Promise.all(['x', 'y', 'z'].map((name) => write(handle(), name)));
    await all;
    t.equal(new Set(heard).size, 90, 'each once');
    t.same(
      revisions,
      [...revisions].sort((a, b) => a - b),
      'in the order of revisions',
    );
  });

  t.test('of several that stand and step down, no two are ever in office at once', async (t) => {
    const handle = await handles(t);
    const holders = new Set<string>();
    let most = 0;
    let terms = 0;
    const serve = async (name: string) => {
      const store = handle();
      for (let term = 0; term < 4; term++) {
        const stop = new AbortController();
        await new Promise<void>((resolve) => {
          store.campaign(
            'crown',
            name,
            {
              elected: () => {
                terms++;
                holders.add(name);
                most = Math.max(most, holders.size);
                setTimeout(() => stop.abort(), 5);
              },
              lost: () => {
                holders.delete(name);
                resolve();
              },
            },
            stop.signal,
          );
        });
      }
    };
    await Promise.all(['a', 'b', 'c'].map(serve));
    t.equal(most, 1);
    t.ok(terms >= 12);
  });

  t.test('a list is sorted by bytes, whatever the script', async (t) => {
    const store = (await handles(t))();
    // By UTF-16 units the traffic light (U+1F6A6) would come before U+FFFD.
    const keys = ['u/a', 'u/ä', 'u/\uFFFD', 'u/🚦'];
    for (const key of keys.toReversed()) {
      await store.transact({ compare: [], write: [put(key, '')] });
    }
    t.same(
      (await store.list('u/')).entries.map(({ key }) => key),
      keys,
    );
  });

  t.test('what no store could carry out is refused before it is sent', async (t) => {
    const store = (await handles(t))();
    const many = Array.from({ length: 129 }, (_, index) => put(`m/${index}`, ''));
    await t.rejects(store.transact({ compare: [], write: many }), { code: 'US_STORE_TOO_LARGE' });
    await t.rejects(
      store.transact({ compare: [], write: [put('k', '1'), { kind: 'delete', key: 'k' }] }),
      { code: 'US_STORE_BAD_TRANSACTION' },
    );
  });

  t.test('a call that is called off, and one on a stopped store, reject', async (t) => {
    const store = (await handles(t))();
    await t.rejects(store.get('a', { signal: AbortSignal.abort(new Error('enough')) }), /enough/);
    await store.stop();
    await t.rejects(store.get('a'), /stopped/);
  });

  t.test('values keep their bytes; a value over 1 MiB is refused', async (t) => {
    const store = (await handles(t))();
    const value = 'zwei\nZeilen\t„Anführung“ 🚦 \0';
    await store.transact({ compare: [], write: [put('text', value)] });
    t.equal((await store.get('text'))?.value, value);
    await t.rejects(
      store.transact({ compare: [], write: [put('big', 'x'.repeat(1024 * 1024 + 1))] }),
      { code: 'US_STORE_TOO_LARGE' },
    );
    t.equal(await store.get('big'), undefined);
  });
}
