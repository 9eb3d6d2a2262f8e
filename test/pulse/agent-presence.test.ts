import { test } from 'tap';
import { AgentPresence } from '../../src/pulse/agent-presence.js';

const s = (seconds: number) => BigInt(Math.round(seconds * 1_000)) * 1_000_000n;

/** Steps at these seconds; between them pulse looks ten times a second. */
class Story {
  readonly presence = new AgentPresence();
  #nowS = 0;

  at(seconds: number, ...steps: readonly ('connected' | 'gone' | 'spoke')[]): boolean {
    for (let lookS = this.#nowS; lookS < seconds; lookS += 0.1) this.presence.look(s(lookS));
    this.#nowS = seconds;
    for (const step of steps) this.presence[step](s(seconds));
    this.presence.look(s(seconds));
    return this.presence.away;
  }
  /** It is here and says so once a second. */
  stays(from: number, to: number): void {
    this.at(from, 'connected', 'spoke');
    for (let at = from + 1; at <= to; at++) this.at(at, 'spoke');
  }
}

test('an agent that is restarted or upgraded is not missed', (t) => {
  const story = new Story();
  story.stays(0, 60);
  story.at(60.2, 'gone');
  t.notOk(story.at(64.9), 'for less than five seconds');
  t.notOk(story.at(64.9, 'connected', 'spoke'));
  t.notOk(story.at(66, 'spoke'));
  t.end();
});

test('one that stays away is, until it has been back for a while', (t) => {
  const story = new Story();
  story.stays(0, 60);
  story.at(60, 'gone');
  t.notOk(story.at(64.9));
  t.ok(story.at(65));
  story.stays(100, 104);
  t.ok(story.presence.away, 'it may die again');
  t.notOk(story.at(105, 'spoke'));
  t.end();
});

test('one that dies again and again counts as away', (t) => {
  const story = new Story();
  story.stays(0, 10);
  for (let at = 11; at < 60; at += 3) {
    story.at(at, 'gone');
    story.stays(at + 1, at + 2);
  }
  t.ok(story.at(60, 'gone'));
  t.end();
});

test('one that hangs is missed though its connection stands', (t) => {
  const story = new Story();
  story.stays(0, 10);
  t.notOk(story.at(14.9));
  t.ok(story.at(15));
  t.ok(story.at(30, 'spoke'), 'it goes on: not at once');
  for (let at = 31; at <= 35; at++) story.at(at, 'spoke');
  t.notOk(story.at(35.1));
  t.end();
});

test('a pulse that stood still itself misses nobody for that', (t) => {
  const story = new Story();
  story.stays(0, 60);
  story.presence.stoodStill(s(20));
  t.notOk(story.presence.away);
  story.presence.look(s(80));
  t.notOk(story.presence.away);
  story.presence.look(s(85));
  t.ok(story.presence.away, 'but it says nothing afterwards either');
  t.end();
});

test('an agent of a version that says nothing is never missed', (t) => {
  const story = new Story();
  story.at(0, 'connected');
  t.notOk(story.at(100));
  t.notOk(story.at(101, 'gone'));
  t.notOk(story.at(200), 'what it carries is not known');
  const downgraded = new Story();
  downgraded.stays(0, 10);
  downgraded.at(10, 'gone');
  downgraded.at(11, 'connected');
  t.notOk(downgraded.at(100));
  t.ok(downgraded.presence.isMute(s(100)));
  t.end();
});
