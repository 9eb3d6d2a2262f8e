import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'tap';
import { lookUp, unmet } from '../../src/lab/condition.js';
import { parseScenario } from '../../src/lab/scenario.js';
import {
  type JudgeResult,
  type Pinged,
  runScenario,
  type ScenarioWorld,
} from '../../src/lab/scenario-run.js';
import { describe } from '../../src/lab/scenario-text.js';
import type { Ran } from '../../src/lab/shell.js';

const text = `
scenario: a power cut
lab: lab.yaml
steps:
  - exec: {node: c1, command: [ping, -c, 1, 10.10.0.11], expect: {stdout: "1 received"}, within: 2s}
  - kill: h1
  - wait: {for: {personalities.web1.host: h4, personalities.web1.epoch: {atLeast: 2}, leader: {not: null}}, within: 500ms}
  - partition: {host: h2, cut: all}
  - partition: h3
  - heal: h2
  - pause: h2
  - resume: h2
  - start: [h1, h3]
  - note: {owner: personalities.web1.host}
  - together: [{kill: $owner}, {signal: {node: leader, process: agent, signal: STOP}}]
  - partition: {host: h2, direction: out}
  - restart: {node: h2, process: agent, command: [other, build]}
  - compact: etcd
  - load: 4
  - ping: {node: c1, address: 10.10.0.11}
  - answers: {address: 10.10.0.11, lost: 0, gap: 600ms}
  - stays: {for: {personalities.web1.host: $owner}, during: 20ms}
`;

const status = {
  leader: 'h2',
  personalities: [{ name: 'web1', host: 'h4', epoch: 2 }],
  hosts: [{ name: 'h1', state: 'expired' }],
};

class FakeWorld implements ScenarioWorld {
  readonly log: string[] = [];
  ran: Ran = { code: 0, stdout: '1 packets transmitted, 1 received', stderr: '' };
  status: unknown = status;
  pinged: Pinged = { lost: 0, gapMs: 12.3 };
  judge: JudgeResult = { ok: true, frames: 7, faults: [] };

  async exec(node: string, argv: readonly string[], withinMs: number): Promise<Ran> {
    this.log.push(`${node} ${argv.join(' ')} within ${withinMs}`);
    return this.ran;
  }

  async act(actions: Parameters<ScenarioWorld['act']>[0]): Promise<void> {
    const told = actions.map((action) => describe(action));
    this.log.push(told.join(' + '));
    if (told.includes('kill h9')) throw new Error('no such host');
  }

  async value(path: string): Promise<string> {
    return String(lookUp(this.status, path));
  }

  async ping(node: string, address: string): Promise<void> {
    this.log.push(`ping ${address} from ${node}`);
  }

  async answers(): Promise<Pinged> {
    return this.pinged;
  }

  verdict(): JudgeResult {
    return this.judge;
  }

  async until(holds: (status: unknown) => boolean): Promise<boolean> {
    return holds(this.status);
  }
}

let clockMs = 0;
const options = { nowMs: () => clockMs++, signal: new AbortController().signal };

test('steps run in order, and the result says what each did', async (t) => {
  const world = new FakeWorld();
  const result = await runScenario(parseScenario(text, 'x.yaml'), world, options);
  t.equal(result.ok, true, JSON.stringify(result));
  t.equal(result.steps.length, 18);
  t.strictSame(world.log, [
    'c1 ping -c 1 10.10.0.11 within 2000',
    'kill h1',
    'partition h2 (all)',
    'partition h3 (internal)',
    'heal h2',
    'pause h2',
    'resume h2',
    'start h1, h3',
    'kill h4 + signal STOP to agent on leader',
    'partition h2 (internal, out only)',
    'restart agent on h2 as other build',
    'compact etcd',
    'load of 4 processes',
    'ping 10.10.0.11 from c1',
  ]);
  t.equal(result.steps[16]?.detail, '0 lost, longest gap 12 ms');
  t.equal(result.steps[17]?.what, '20 ms long personalities.web1.host = h4');
  t.equal(
    result.steps[2]?.what,
    'wait for personalities.web1.host = h4, personalities.web1.epoch ≥ 2, leader ≠ null',
  );
});

test('the first step that fails ends it, with what was there instead', async (t) => {
  const world = new FakeWorld();
  world.ran = { code: 1, stdout: '0 received', stderr: '' };
  const scenario = parseScenario(text, 'x.yaml');
  const first = await runScenario(scenario, world, options);
  t.equal(first.ok, false);
  t.strictSame(
    first.steps.map(({ detail }) => detail),
    ['exit code 1, wanted 0; stdout does not match /1 received/; it said: 0 received'],
  );
  world.ran = { code: 0, stdout: '1 received', stderr: '' };
  world.status = {
    ...status,
    leader: null,
    personalities: [{ name: 'web1', host: 'h1', epoch: 1 }],
  };
  const second = await runScenario(scenario, world, options);
  t.equal(
    second.steps.at(-1)?.detail,
    'after 500 ms: personalities.web1.host is "h1", wanted "h4"; personalities.web1.epoch is 1, wanted at least 2; leader is null, wanted anything but null',
  );
  const broken = parseScenario('{scenario: x, steps: [{kill: h9}]}', 'x.yaml');
  t.equal((await runScenario(broken, world, options)).steps[0]?.detail, 'no such host');
});

test('lost pings, a long gap, a change, and a judge that saw two owners are failures', async (t) => {
  const one = async (step: string, change: (world: FakeWorld) => void) => {
    const world = new FakeWorld();
    change(world);
    return runScenario(parseScenario(`{scenario: x, steps: [${step}]}`, 'x.yaml'), world, options);
  };
  const answers = '{answers: {address: a, lost: 1, gap: 100ms}}';
  const lost = await one(answers, (world) => {
    world.pinged = { lost: 2, gapMs: 101 };
  });
  t.equal(
    lost.steps[0]?.detail,
    '2 lost, longest gap 101 ms; wanted at most 1 lost; wanted no gap over 100 ms',
  );
  const moved = await one('{stays: {for: {personalities.web1.host: h1}, during: 1ms}}', () => {});
  t.equal(moved.steps[0]?.detail, 'personalities.web1.host is "h4", wanted "h1"');
  const judged = await one('{heal: h1}', (world) => {
    world.judge = { ok: false, frames: 9, faults: ['two owners'] };
  });
  t.match(judged, { ok: false, steps: [{ ok: true }], judge: { faults: ['two owners'] } });
});

test('places in a status are named', (t) => {
  t.equal(lookUp(status, 'personalities.web1.host'), 'h4');
  t.equal(lookUp(status, 'hosts.0.state'), 'expired');
  t.equal(lookUp(status, 'hosts.h7.state'), undefined);
  t.equal(lookUp(status, 'leader.name'), undefined);
  const absent = { path: 'hosts.h7.state', expected: { kind: 'not', value: 'up' } } as const;
  t.equal(unmet(status, absent), 'hosts.h7.state is not there, wanted anything but "up"');
  t.end();
});

test('a scenario that cannot be run says which step, and why', (t) => {
  const steps = (list: string) => () => parseScenario(`{scenario: x, steps: ${list}}`, 'x.yaml');
  for (const [list, cause] of [
    ['[{boil: h1}]', /step 1: there is no step called boil/],
    ['[{kill: h1}, {kill: h1, start: h1}]', /step 2 has 2 keys/],
    ['[{exec: {node: c1}}]', /step 1: exec\.command/],
    ['[{exec: {node: c1, command: [x], expect: {stdout: "("}}}]', /step 1: exec\.expect\.stdout/],
    ['[{wait: {for: {a: 1}, within: 5}}]', /step 1: wait\.within/],
    ['[{wait: {for: {}}}]', /step 1: wait\.for: write at least one/],
    ['[{wait: {for: {a: 1}, within: 16m}}]', /write at most 15m/],
    ['[{together: [{exec: {node: c1, command: [x]}}]}]', /together takes kill/],
    ['[{signal: {node: h1, process: pulse, signal: NONE}}]', /signal/],
    ['[{note: {a: x, b: y}}]', /one name/],
    ['[{partition: {host: h1, cut: some}}]', /step 1: partition/],
    ['[]', /steps/],
  ] as const) {
    t.throws(steps(list), { code: 'US_LAB_SCENARIO', reason: cause }, list);
  }
  t.throws(() => parseScenario('steps: [', 'x.yaml'), { code: 'US_LAB_SCENARIO' });
  t.end();
});

test('the examples can be run', (t) => {
  const folder = new URL('../../../examples/scenarios/', import.meta.url);
  for (const name of readdirSync(folder)) {
    const scenario = parseScenario(readFileSync(new URL(name, folder), 'utf8'), name);
    t.ok(scenario.steps.length > 0, name);
  }
  t.end();
});
