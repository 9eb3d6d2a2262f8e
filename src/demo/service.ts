import type { Status } from '../control/status.js';
import { HttpWatch } from '../observe/observers.js';
import { addressOf, must, type Stage } from './stage.js';

const firstPort = 20_000;
const requests = 400;
const repeats = 100;
const client = '10.10.0.200';

/** Source port → the member that answered. */
type Answers = ReadonlyMap<number, string>;

/**
 * Claims 7 to 10 and +: requests to the shared address from many source ports; the same ports again;
 * then the dispatcher's host is killed and the same ports are asked once more.
 */
export async function showService(stage: Stage): Promise<void> {
  const { claims, say } = stage;
  const status = await stage.status();
  const [service] = status.services;
  if (service === undefined) throw new Error('the demonstration needs a service');
  const answers = await ask(stage, service.address, firstPort, requests);
  judgeSpread(stage, answers, service);
  const again = await ask(stage, service.address, firstPort, repeats);
  const moved = differences(answers, again);
  claims.observe('10', moved === 0, `${repeats} ports asked again: ${moved} at another member`);
  let wrong = 0;
  const asked = [0, 1, 2, 3, 4].map((index) => firstPort + index * 37);
  for (const port of asked) {
    const { member } = await stage.which('web', `${client}:${port}`);
    if (member !== answers.get(port)) wrong++;
  }
  claims.observe(
    '10',
    wrong === 0,
    `which names the member that answered, ${asked.length - wrong} of ${asked.length}`,
  );
  say(
    `same source ${repeats} ports asked again, ${moved} moved; which agrees ${asked.length - wrong} of ${asked.length}`,
  );
  await killDispatcher(stage, status, answers);
}

function judgeSpread(
  { claims, say }: Stage,
  answers: Answers,
  service: Status['services'][number],
): void {
  const counts = new Map<string, number>();
  for (const name of answers.values()) counts.set(name, (counts.get(name) ?? 0) + 1);
  const names = service.members.map(({ personality }) => personality);
  const text = [...counts]
    .map(([name, count]) => `${name} ${count}`)
    .sort()
    .join(', ');
  const members = [...counts.keys()];
  const fair = names.every((name) => {
    const share = (counts.get(name) ?? 0) / answers.size;
    return Math.abs(share * names.length - 1) <= 0.15;
  });
  claims.observe(
    '7',
    names.every((name) => counts.has(name)),
    `${service.address}: ${text}`,
  );
  claims.observe(
    '9',
    answers.size === requests && members.every((name) => names.includes(name)),
    `${answers.size} of ${requests} requests answered, each by one member`,
  );
  claims.observe('8', fair && counts.size > 1, `one client, ${requests} source ports: ${text}`);
  say(
    `service     ${answers.size} of ${requests} requests to ${service.address} answered: ${text}`,
  );
}

async function killDispatcher(stage: Stage, before: Status, answers: Answers): Promise<void> {
  const { lab, claims, say, pace } = stage;
  const [service] = before.services;
  const dispatcher = service?.dispatcher;
  if (service === undefined || dispatcher === null || dispatcher === undefined) {
    throw new Error('nobody dispatches');
  }
  const members = new Set(service.members.map(({ personality }) => personality));
  await lab.kill(dispatcher);
  const after = await stage.until(
    'another host dispatches and every personality runs',
    ({ services, personalities }) =>
      services[0]?.phase === 'running' &&
      services[0].dispatcher !== dispatcher &&
      services[0].members.every(({ health }) => health === 'up') &&
      personalities.every(({ phase, host }) => phase === 'running' && host !== dispatcher),
    pace.takeoverMs,
  );
  for (const name of members) await untilServes(stage, after, name);
  const now = await ask(stage, service.address, firstPort, requests);
  const moved = differences(answers, now);
  claims.observe(
    '+',
    moved === 0 && now.size === requests,
    `dispatcher ${dispatcher} killed, ${after.services[0]?.dispatcher} dispatches: ${now.size} of ${requests} answered, ${moved} at another member`,
  );
  claims.observe(
    '+',
    members.size === 2,
    'the members are personalities; one of them was failed over above',
  );
  say(
    `dispatcher  ${dispatcher} killed, now ${after.services[0]?.dispatcher}: ${now.size} of ${requests} answered, ${moved} moved`,
  );
  await lab.start(dispatcher);
}

/** One that was taken over together with the dispatcher has just started its workload. */
async function untilServes({ lab, pace }: Stage, status: Status, name: string): Promise<void> {
  const page = `http://${addressOf(status, name)}/name`;
  const http = new HttpWatch(lab, 'c1', page, name, pace.http);
  try {
    await http.answerAfter(Date.now(), pace.takeoverMs);
  } finally {
    await http.stop();
  }
}

async function ask(stage: Stage, address: string, first: number, count: number): Promise<Answers> {
  const script = new URL('./http-ports.js', import.meta.url).pathname;
  const { atOnce, answerMs } = stage.pace.requests;
  const numbers = [first, count, atOnce, answerMs].map(String);
  const argv = [process.execPath, script, address, ...numbers];
  const output = await must(stage, 'c1', argv);
  const answers = new Map<number, string>();
  for (const line of output.split('\n')) {
    const [port, body] = line.split(' ');
    if (port === undefined || body === undefined || body.startsWith('!')) continue;
    answers.set(Number(port), body);
  }
  return answers;
}

function differences(before: Answers, after: Answers): number {
  return [...after].filter(([port, name]) => before.get(port) !== name).length;
}
