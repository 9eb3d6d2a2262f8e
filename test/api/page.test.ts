import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { type Test, test } from 'tap';
import { ApiServer } from '../../src/api/server.js';
import type { ApiSource } from '../../src/api/types.js';
import type { TrafficReport } from '../../src/control/records.js';
import type { Status } from '../../src/control/status.js';
import { statusOf } from '../../src/control/status.js';
import { clusterConfig, World, web, web1, web2 } from '../control/world.js';
import { failoverOfWeb1 } from './failover-record.js';

/** Where to put pictures to look at; none are kept otherwise. */
const pictures = process.env.UNDERSTUDY_PICTURES;
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

/** Three hosts that are well and one that was voted out, with a name that is no friend of markup. */
function cluster(): Status {
  const world = new World();
  world.assign(web1, 'h1', { epoch: 2 });
  world.assign(web2, 'h2');
  world.assign(web, 'h2');
  world.vote('h3', 1, 'h1');
  world.vote('h3', 1, 'h2');
  const report = (
    host: string,
    name: string,
    epoch: number,
    traffic: readonly TrafficReport[] = [],
  ) =>
    world.write(`report/${host}`, {
      incarnation: 1,
      granting: true,
      personalities: [{ name, epoch, phase: 'running', detail: '', volumes: [] }],
      services: [],
      health: [],
      traffic,
    });
  report('h1', 'web1', 2);
  report('h2', 'web2', 1, [
    {
      service: 'web',
      received: 1_234_600,
      forwarded: [
        {
          ...{ personality: 'web1', packets: 1_234_567, bytes: 98_765_432, newFlows: 4_321 },
          perSecond: { packets: 1_234.5, bytes: 98_765, newFlows: 4 },
        },
        { personality: 'web2', packets: 11, bytes: 700, newFlows: 2 },
      ],
      passed: 17,
      dropped: { lease: 0, malformed: 5 },
    },
  ]);
  const slots = new Map([
    ['web1', 40_000],
    ['web2', 25_537],
  ]);
  return statusOf(world.view, clusterConfig(), 'h1', () => slots);
}

/** The host of web1 was voted out, and another is about to have it. */
function duringFailover(): Status {
  const world = new World();
  world.assign(web1, 'h4', { epoch: 3 });
  world.assign(web2, 'h2');
  world.assign(web, 'h2');
  world.vote('h1', 1, 'h2');
  world.vote('h1', 1, 'h3');
  const running = { detail: '', volumes: [] };
  const report = (host: string, name: string, epoch: number, phase: 'starting' | 'running') =>
    world.write(`report/${host}`, {
      ...{ incarnation: 1, granting: true, services: [], health: [] },
      personalities: [{ name, epoch, phase, ...running }],
    });
  report('h4', 'web1', 3, 'starting');
  report('h2', 'web2', 1, 'running');
  return statusOf(world.view, clusterConfig(), 'h2', () => new Map([['web2', 65_537]]));
}

function source(status: () => Status): ApiSource {
  return {
    host: 'h1',
    version: '1.0.0',
    health: async () => ({ store: true, pulse: true }),
    status: async () => status(),
    failovers: () => [failoverOfWeb1],
    events: async () => [
      {
        atUnixMs: 1_795_000_000_000,
        host: 'h1',
        kind: 'vote',
        subject: 'h3',
        text: 'h1 votes h3/1 expired: no heartbeat for 202 ms <img src=x onerror=alert(1)>',
      },
    ],
    audit: async () => [],
    lastChange: () => undefined,
    lease: async () => undefined,
    dispatched: async () => [],
    standbys: () => [],
  };
}

async function openBrowser(t: Test): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking'],
      ...['--disable-component-update', '--disable-sync', '--no-first-run'],
    ],
  });
  t.teardown(() => browser.close());
  return browser;
}

async function openPage(t: Test, browser: Browser, scheme: 'light' | 'dark', status: () => Status) {
  const server = new ApiServer(source(status), { bind: '127.0.0.1', port: 0 });
  const port = await server.start();
  const context = await browser.newContext({
    colorScheme: scheme,
    viewport: { width: 1_200, height: 1_000 },
    bypassCSP: false,
  });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  t.teardown(async () => {
    await context.close();
    await server.stop();
  });
  await page.goto(`http://127.0.0.1:${port}/page`);
  await page.locator('#personalities tr').first().waitFor();
  return { page, complaints, server };
}

/** Words of tables that stand on more than one line. */
const cutWords = `[...document.querySelectorAll('th, td')].flatMap((cell) => {
  const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  const cut = [];
  while (texts.nextNode()) {
    const text = texts.currentNode;
    for (const { 0: word, index } of text.data.matchAll(/\\w+/g)) {
      const range = document.createRange();
      range.setStart(text, index);
      range.setEnd(text, index + word.length);
      if (range.getClientRects().length > 1) cut.push(word);
    }
  }
  return cut;
})`;

async function picture(page: Page, name: string): Promise<void> {
  if (pictures !== undefined) {
    await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  }
}

test('the status page', async (t) => {
  const browser = await openBrowser(t);

  for (const scheme of ['light', 'dark'] as const) {
    await t.test(
      `in ${scheme} it shows all, without a complaint, and axe finds nothing`,
      async (t) => {
        const { page, complaints } = await openPage(t, browser, scheme, cluster);
        await picture(page, scheme);
        const text = (await page.locator('main').textContent()) ?? '';
        for (const shown of [
          'Host h3 is expired.',
          'web1 10.10.0.11/24 on h1',
          'web 10.10.0.100 by h2',
          '1,234.5 packets, 98.8 kB, 4 new flows a second',
          'dispatches web',
          '61.0 %',
          'epoch 2, lease-expired: ok',
          '<img src=x onerror=alert(1)>',
        ]) {
          t.ok(text.includes(shown), shown);
        }
        const rows = await page.locator('.traffic tbody tr').allInnerTexts();
        t.same(
          rows.map((row) => row.trim().split(/\s*\t\s*/)),
          [
            ['web1', '1,234,567', '98,765,432', '4,321'],
            ['web2', '11', '700', '2'],
            ['the stack', '17'],
            ['nobody: malformed', '5'],
          ],
          'what the dispatcher counted',
        );
        t.equal(
          await page.locator('#summary').textContent(),
          '3 of 4 hosts up, 2 of 2 personalities running, leader h1',
        );
        t.equal(await page.locator('#events img').count(), 0, 'what a record says stays text');
        t.same(complaints, []);
        await page.evaluate(readFileSync(axe, 'utf8'));
        const found = (await page.evaluate('axe.run()')) as {
          violations: { id: string; impact: string; nodes: { html: string }[] }[];
        };
        const serious = found.violations.map(({ id, nodes }) => [id, nodes[0]?.html]);
        t.same(serious, [], 'no violation');
      },
    );
  }

  await t.test(
    'on a phone no word is cut, and the page itself does not scroll sideways',
    async (t) => {
      const { page } = await openPage(t, browser, 'light', cluster);
      await page.setViewportSize({ width: 390, height: 800 });
      await picture(page, 'phone');
      t.equal(await page.evaluate('document.documentElement.scrollWidth'), 390);
      t.same(await page.evaluate(cutWords), []);
      const right = (selector: string) =>
        page.evaluate(`document.querySelector('${selector}').getBoundingClientRect().right`);
      t.ok(Number(await right('.traffic')) < Number(await right('.service')), 'it is in its card');
      await page.evaluate(readFileSync(axe, 'utf8'));
      const { violations } = (await page.evaluate('axe.run()')) as { violations: { id: string }[] };
      t.same(
        violations.map(({ id }) => id),
        [],
      );
    },
  );

  await t.test('it follows what changes, and keeps what its reader opened', async (t) => {
    let status = cluster();
    const { page } = await openPage(t, browser, 'light', () => status);
    const record = page.locator('#failovers details');
    t.equal(await record.getAttribute('open'), '', 'the newest record is open');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    t.equal(await record.getAttribute('open'), null, 'the keyboard closes it');
    const [first, ...others] = status.personalities;
    if (first === undefined) throw new Error('web1 is expected');
    const failed = { ...first, phase: 'failed', reason: 'the disk does not answer' } as const;
    status = { ...status, personalities: [failed, ...others] };
    await page.getByText('web1 is failed: the disk does not answer').waitFor();
    await picture(page, 'failed');
    t.equal(await record.getAttribute('open'), null, 'and it stays closed');
  });

  await t.test('during a failover it shows where the role goes, and how far it is', async (t) => {
    for (const scheme of ['light', 'dark'] as const) {
      const { page, complaints } = await openPage(t, browser, scheme, duringFailover);
      await page.getByText('web1 is starting').waitFor();
      await picture(page, `failover-${scheme}`);
      t.same(await page.locator('#problems li').allTextContents(), [
        'Host h1 is expired.',
        'web1 is starting.',
      ]);
      t.match(await page.locator('#networks').textContent(), 'web1 10.10.0.11/24 on h4');
      t.match(await page.locator('#hosts .starting').textContent(), 'web1, starting');
      t.match(
        await page.locator('#summary').textContent(),
        '3 of 4 hosts up, 1 of 2 personalities running',
      );
      t.same(complaints, []);
    }
  });

  await t.test('when the agent is gone it says so, and that what it shows is old', async (t) => {
    const { page, server } = await openPage(t, browser, 'light', cluster);
    await server.stop();
    await page.getByText('This agent does not answer').waitFor();
    t.match(await page.locator('body').getAttribute('class'), /stale/);
    await picture(page, 'stale');
  });
});
