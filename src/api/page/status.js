/**
 * The status page: asks this agent's own API once a second and draws what it says. Everything from the
 * cluster goes in as text, never as markup.
 */
const everyMs = 1_000;
const patienceMs = 3_000;
const shownFailovers = 20;
const shownEvents = 40;
const svgNamespace = 'http://www.w3.org/2000/svg';

const at = (id) => document.getElementById(id);

/** An element with attributes and children (text or elements). */
function make(tag, attributes = {}, ...children) {
  const svg = tag === 'svg' || tag === 'rect' || tag === 'title';
  const element = svg ? document.createElementNS(svgNamespace, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Replaces content only where it differs: a screen reader's and a keyboard's place is kept. */
function show(parent, children) {
  const next = make(parent.tagName.toLowerCase(), {}, ...children);
  if (next.innerHTML !== parent.innerHTML) parent.replaceChildren(...next.childNodes);
}

const stateTone = { up: 'good', drained: 'warn', expired: 'bad', fenced: 'bad', down: 'bad' };
const phaseTone = {
  running: 'good',
  starting: 'warn',
  stopping: 'warn',
  failed: 'bad',
  unplaced: 'bad',
};

const said = (what, why) => (why ? `${what}: ${why}` : `${what}.`);

function problemsOf(status) {
  const problems = [];
  if (!status.quorum) {
    problems.push(
      'The store does not answer: failovers wait; what runs goes on. Shown is what was last heard.',
    );
  } else if (status.leader === null) {
    problems.push('There is no leader: nothing is placed or moved on purpose; failovers go on.');
  }
  for (const { name, state, reason } of status.hosts) {
    if (stateTone[state] === 'bad') {
      problems.push(said(`Host ${name} is ${state}`, reason));
    }
  }
  for (const { name, phase, reason, failures, volumes } of status.personalities) {
    const stands = volumes.some(({ trouble }) => trouble !== undefined);
    if (phase !== 'running' || failures !== null || stands)
      problems.push(said(`${name} is ${phase}`, reason));
  }
  const pools = new Map();
  for (const host of status.hosts) {
    if (host.pool === null) continue;
    const spare = host.state === 'up' && host.personalities.length === 0;
    pools.set(host.pool, (pools.get(host.pool) ?? 0) + (spare ? 1 : 0));
  }
  for (const [pool, spares] of pools) {
    if (spares === 0)
      problems.push(`Pool ${pool} has no spare: the next failure makes two share a host.`);
  }
  for (const service of status.services) {
    for (const { personality, health, reason } of service.members) {
      if (health === 'down')
        problems.push(said(`${personality} is down as a member of ${service.name}`, reason));
    }
    if (service.traffic?.by === 'nftables') {
      problems.push(
        `${service.name} is dispatched by nftables: a change of its members breaks connections that it moves.`,
      );
    }
  }
  return problems;
}

function drawHosts(status) {
  const phases = new Map(status.personalities.map(({ name, phase }) => [name, phase]));
  const pools = [...new Set(status.hosts.map(({ pool }) => pool))];
  return pools.flatMap((pool) => [
    make('p', { class: 'quiet' }, pool === null ? 'no pool: carry nothing' : `pool ${pool}`),
    make(
      'ul',
      { class: 'pool' },
      ...status.hosts.filter((host) => host.pool === pool).map((host) => drawHost(host, phases)),
    ),
  ]);
}

function drawHost(host, phases) {
  const { name, state, controller, granting, incarnation, personalities, dispatches, pool } = host;
  const starting = state === 'up' && !granting;
  const role = controller ? (starting ? 'controller, starting' : 'controller') : '';
  const carried = [
    ...personalities.map((one) => {
      const phase = phases.get(one) ?? 'unplaced';
      const text = phase === 'running' ? one : `${one}, ${phase}`;
      return make('li', { class: phase }, text);
    }),
    ...dispatches.map((one) => make('li', { class: 'dispatches' }, `dispatches ${one}`)),
  ];
  const spare = carried.length === 0 && pool !== null && state === 'up';
  return make(
    'li',
    { class: stateTone[state] === 'bad' ? 'card down' : 'card' },
    make(
      'div',
      { class: 'title' },
      make('h3', {}, name),
      make('span', { class: stateTone[state] ?? 'quiet' }, state),
    ),
    make('p', { class: 'quiet' }, [role, `incarnation ${incarnation}`].filter(Boolean).join(', ')),
    carried.length > 0 ? make('ul', { class: 'carried' }, ...carried) : null,
    spare ? make('p', { class: 'quiet' }, 'spare') : null,
  );
}

/** A bar from `from` to `to` of a whole of 1, told in words as well. */
function bar(className, parts, words) {
  const svg = make('svg', {
    class: className,
    viewBox: '0 0 100 8',
    preserveAspectRatio: 'none',
    role: 'img',
    'aria-label': words,
  });
  for (const { from, to, kind } of parts) {
    const width = Math.max(0.6, (to - from) * 100);
    svg.append(make('rect', { class: kind, x: from * 100, y: 0, width, height: 8 }));
  }
  return svg;
}

/** Who can talk to whom: what is on one network, and where it runs now. */
function drawNetworks({ personalities, services }) {
  const networks = new Map();
  const add = (network, line) => networks.set(network, [...(networks.get(network) ?? []), line]);
  for (const { name, network, addresses, dispatcher } of services)
    add(network, ['dispatches', `${name} ${addresses.join(' ')} by ${dispatcher ?? 'nobody'}`]);
  for (const { name, phase, host, interfaces } of personalities)
    for (const { network, addresses } of interfaces)
      add(network, [phase, `${name} ${addresses.join(' ')} on ${host ?? 'no host'}`]);
  return [...networks].map(([network, lines]) =>
    make(
      'li',
      { class: 'card' },
      make('h3', {}, network),
      make(
        'ul',
        { class: 'carried' },
        ...lines.map(([kind, text]) => make('li', { class: kind }, text)),
      ),
    ),
  );
}

const rounded = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

/** Of the last seconds; '' until its dispatcher has counted twice. */
function rateOf(traffic) {
  const rate = traffic?.perSecond ?? null;
  if (rate === null) return '';
  const { packets, bytes, newFlows } = rate;
  return `${rounded.format(packets)} packets, ${rounded.format(bytes / 1_000)} kB, ${rounded.format(newFlows)} new flows a second`;
}

function drawServices(status) {
  return status.services.map((service) => {
    const total = service.members.reduce((sum, { slots }) => sum + slots, 0);
    const rows = service.members.flatMap(({ personality, health, slots, traffic }) => {
      const share = total === 0 ? 0 : slots / total;
      const percent = `${(share * 100).toFixed(1)} %`;
      const parts = [{ from: 0, to: 1, kind: 'rest' }];
      if (share > 0) parts.push({ from: 0, to: share, kind: 'mine' });
      return [
        make('span', {}, personality),
        make(
          'span',
          { class: health === 'up' ? 'good' : health === 'down' ? 'bad' : 'warn' },
          health,
        ),
        bar('share', parts, `${personality} gets ${percent} of new flows`),
        make('span', { class: 'quiet' }, percent),
        make('span', { class: 'quiet rate' }, rateOf(traffic)),
      ];
    });
    return make(
      'div',
      { class: 'service' },
      make('h3', {}, `${service.name}  ${service.addresses.join(' ')}`),
      make(
        'p',
        { class: 'quiet' },
        `dispatched by ${service.dispatcher ?? 'nobody'}, vMAC ${service.mac}`,
      ),
      make('div', { class: 'members' }, ...rows),
      drawTraffic(service),
    );
  });
}

const counted = new Intl.NumberFormat('en');

/** What the dispatcher counted; null until it has told. Of reasons why packets were dropped, those that occurred. */
function drawTraffic({ name, members, traffic }) {
  if (traffic === null) return null;
  const number = (value) => make('td', { class: 'number' }, counted.format(value));
  const row = (title, ...cells) =>
    make('tr', {}, make('th', { scope: 'row' }, title), ...cells, ...blanks(3 - cells.length));
  const told = members.filter((member) => member.traffic !== null);
  const dropped = Object.entries(traffic.dropped).filter(([, packets]) => packets > 0);
  const heads = ['packets to', 'packets', 'bytes', 'new flows'].map((title, at) =>
    make('th', { scope: 'col', class: at === 0 ? '' : 'number' }, title),
  );
  return make(
    'table',
    { class: 'traffic', 'aria-label': `What the dispatcher of ${name} counted` },
    make('thead', {}, make('tr', {}, ...heads)),
    make(
      'tbody',
      {},
      ...told.map(({ personality, traffic: to }) =>
        row(personality, number(to.packets), number(to.bytes), number(to.newFlows)),
      ),
      row('the stack', number(traffic.passed)),
      ...dropped.map(([reason, packets]) => row(`nobody: ${reason}`, number(packets))),
    ),
  );
}

function blanks(count) {
  return Array.from({ length: count }, () => make('td', {}));
}

function drawPersonalities(status) {
  return status.personalities.map((one) =>
    make(
      'tr',
      {},
      make('th', { scope: 'row' }, one.name),
      make('td', { class: phaseTone[one.phase] ?? '' }, one.phase),
      make('td', {}, one.host ?? 'nowhere'),
      make('td', {}, String(one.epoch)),
      make('td', {}, one.interfaces.map(({ network }) => network).join(', ')),
      make('td', {}, one.interfaces.flatMap(({ addresses }) => addresses).join(' ')),
      make('td', {}, one.interfaces.map(({ mac }) => mac).join(' ')),
      make(
        'td',
        {},
        one.volumes
          .map((volume) => `${volume.lun}: ${volume.target} LUN ${volume.targetLun}`)
          .join(', ') || 'none',
      ),
    ),
  );
}

function drawFailover(one, open) {
  const endMs = Math.max(1, ...one.steps.map((step) => step.endMs));
  const rows = one.steps.flatMap((step) => {
    const words = `${step.name} from ${Math.round(step.startMs)} to ${Math.round(step.endMs)} ms`;
    const kind = step.name === 'detect' ? 'detect' : 'step';
    const part = { from: Math.max(0, step.startMs) / endMs, to: step.endMs / endMs, kind };
    return [
      make('span', {}, step.name),
      make(
        'span',
        { class: 'quiet' },
        `${Math.round(step.startMs)} – ${Math.round(step.endMs)} ms`,
      ),
      make(
        'span',
        { class: step.ok ? 'quiet' : 'bad' },
        step.ok ? step.host : `failed on ${step.host}`,
      ),
      bar('steps', [part], words),
    ];
  });
  const tone = one.outcome === 'ok' ? 'good' : one.outcome === 'failed' ? 'bad' : 'warn';
  const details = make(
    'details',
    { 'data-id': one.id },
    make(
      'summary',
      {},
      make('strong', {}, one.personality),
      ` ${one.from ?? 'nowhere'} → ${one.to}, epoch ${one.epoch}, ${one.cause}: `,
      make('span', { class: tone }, one.outcome),
      make(
        'span',
        { class: 'quiet' },
        ` ${Math.round(endMs)} ms, ${new Date(one.atUnixMs).toLocaleString()}`,
      ),
    ),
    make('p', { class: 'quiet' }, one.reason),
    make('div', { class: 'timeline' }, ...rows),
  );
  if (open) details.setAttribute('open', '');
  return details;
}

/** The newest is open at first; what a reader opened or closed stays so. */
function drawFailovers(failovers) {
  const known = new Map(
    [...at('failovers').querySelectorAll('details')].map((one) => [one.dataset.id, one.open]),
  );
  if (failovers.length === 0) return [make('p', { class: 'quiet' }, 'none yet')];
  return failovers
    .slice(0, shownFailovers)
    .map((one, index) => drawFailover(one, known.get(one.id) ?? index === 0));
}

function drawEvents(events) {
  return [...events]
    .reverse()
    .map(({ atUnixMs, host, kind, subject, text }) =>
      make(
        'li',
        {},
        make('span', { class: 'quiet' }, new Date(atUnixMs).toLocaleTimeString()),
        make('span', {}, host),
        make('span', { class: 'quiet' }, kind),
        make('span', {}, `${subject}: ${text}`),
      ),
    );
}

function draw(status, failovers, events) {
  document.title = `${status.cluster} · Understudy`;
  at('cluster').textContent = status.cluster;
  const up = status.hosts.filter(({ state }) => state === 'up').length;
  const running = status.personalities.filter(({ phase }) => phase === 'running').length;
  const summary = `${up} of ${status.hosts.length} hosts up, ${running} of ${status.personalities.length} personalities running, leader ${status.leader ?? 'none'}`;
  if (at('summary').textContent !== summary) at('summary').textContent = summary;
  const problems = problemsOf(status);
  at('attention').hidden = problems.length === 0;
  show(
    at('problems'),
    problems.map((problem) => make('li', {}, problem)),
  );
  show(at('hosts'), drawHosts(status));
  show(at('networks'), drawNetworks(status));
  at('services-section').hidden = status.services.length === 0;
  show(at('services'), drawServices(status));
  show(at('personalities'), drawPersonalities(status));
  show(at('failovers'), drawFailovers(failovers));
  show(at('events'), drawEvents(events));
}

async function get(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(patienceMs), cache: 'no-store' });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error?.cause ?? `${path}: ${answer.status}`);
  return body;
}

async function look() {
  try {
    const [status, failovers, events] = await Promise.all([
      get('/v1/status'),
      get('/v1/failovers'),
      get(`/v1/events?most=${shownEvents}`).catch(() => []),
    ]);
    draw(status, failovers, events);
    document.body.classList.remove('stale');
  } catch (thrown) {
    document.body.classList.add('stale');
    at('summary').textContent =
      `This agent does not answer (${thrown.message}). Shown is what it last said.`;
  }
  setTimeout(look, everyMs);
}

void look();
