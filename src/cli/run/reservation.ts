import { hostname } from 'node:os';
import type { VolumeConfig } from '../../config/types.js';
import { configOf, type View } from '../../control/view.js';
import { messageOf, UnderstudyError } from '../../errors.js';
import { auditOperations, personHere } from '../../operate/audit.js';
import {
  keyOwner,
  objections,
  ownerText,
  refusedToClear,
  volumeToClear,
} from '../../operate/reservation.js';
import { type ChapAccount, readChap } from '../../storage/chap.js';
import { IscsiSession } from '../../storage/iscsi-session.js';
import {
  lookAtReservation,
  removeRegistrations,
  type StandingReservation,
} from '../../storage/reservation-clear.js';
import { keyText } from '../../storage/reservation-key.js';
import { initiatorName } from '../../storage/types.js';
import { type ClusterOptions, withCluster } from '../cluster.js';
import { table } from '../output.js';

/** A LUN, where no cluster knows it (any more). */
export interface Place {
  readonly portal: string;
  readonly target: string;
  readonly lun: number;
  readonly chap: ChapAccount | undefined;
}

export interface ReservationOptions extends ClusterOptions {
  readonly json: boolean;
  /** Of the cluster's definition; undefined with `place`, or for all of them. */
  readonly volume: string | undefined;
  readonly place: Place | undefined;
}

export interface ClearOptions extends ReservationOptions {
  /** The person has made sure that nobody who is thrown out can write. */
  readonly yes: boolean;
}

/** What of a LUN is needed to ask its target. */
type Lun = Pick<VolumeConfig, 'name' | 'portals' | 'target' | 'lun' | 'chap'>;

interface Told {
  readonly volume: string | null;
  readonly target: string;
  readonly lun: number;
  readonly registered: readonly {
    readonly key: string;
    readonly owner: string;
    readonly initiators: readonly string[] | null;
  }[];
  readonly holder: { readonly key: string; readonly type: number } | null;
  /** Why the target did not tell. */
  readonly error: string | null;
}

/** Who is registered with a LUN, and who holds it. Changes nothing. */
export async function show(options: ReservationOptions): Promise<number> {
  const { place, volume, json, signal } = options;
  const told =
    place === undefined
      ? await withCluster(options, async (cluster) => {
          const view = await cluster.view();
          const volumes =
            volume === undefined ? (configOf(view)?.volumes ?? []) : [volumeToClear(view, volume)];
          return Promise.all(volumes.map((one) => tell(one, view, volume === undefined, signal)));
        })
      : [await tell(lunOf(place), undefined, false, signal)];
  process.stdout.write(json ? `${JSON.stringify(told)}\n` : `${toldText(told)}\n`);
  return 0;
}

/** Throws out all who are registered, unless something speaks against it. */
export async function clear(options: ClearOptions): Promise<number> {
  const { place, volume, yes, signal } = options;
  if (place !== undefined) {
    const lun = lunOf(place);
    const removed = await withSession(lun, undefined, signal, async (session) => {
      const keys = keysOf(await lookAtReservation(session, lun.lun, signal));
      const why = ['no cluster is asked, so nothing tells whether somebody uses it'];
      if (keys.length > 0 && !yes) throw refusedToClear(lun.name, why);
      return removeRegistrations(session, lun.lun, keys, signal);
    });
    return say(options, null, lun, removed);
  }
  return withCluster(options, async ({ store, view }) => {
    const first = await view();
    const lun = volumeToClear(first, volume ?? '');
    const removed = await withSession(lun, first, signal, async (session) => {
      const keys = keysOf(await lookAtReservation(session, lun.lun, signal));
      // Read anew after the keys: who was placed since then has registered another one.
      const why = objections(await view(), lun.name, keys);
      if (keys.length > 0 && why.length > 0 && !yes) {
        throw refusedToClear(`volume ${lun.name}`, why);
      }
      if (keys.length === 0) return keys;
      // Before it is done: a clearing without a record would be worse than a record without a clearing.
      const detail = `clear the reservation of ${lun.name}: ${keys.map(keyText).join(', ')}`;
      const change = { what: 'reservation', subject: lun.name, detail } as const;
      await store.transact({ compare: [], write: auditOperations(personHere(), change) });
      return removeRegistrations(session, lun.lun, keys, signal);
    });
    return say(options, lun.name, lun, removed);
  });
}

function lunOf({ portal, target, lun, chap }: Place): Lun {
  return { name: `LUN ${lun} of ${target}`, portals: [portal], target, lun, chap };
}

const keysOf = ({ registrations }: StandingReservation) => registrations.map(({ key }) => key);

/** @param among of several: one that does not answer must not hide the others */
async function tell(
  lun: Lun,
  view: View | undefined,
  among: boolean,
  signal: AbortSignal,
): Promise<Told> {
  const base = { volume: view === undefined ? null : lun.name, target: lun.target, lun: lun.lun };
  const config = view === undefined ? undefined : configOf(view);
  try {
    const found = await withSession(lun, view, signal, (session) =>
      lookAtReservation(session, lun.lun, signal),
    );
    const registered = found.registrations.map(({ key, initiators }) => ({
      key: keyText(key),
      owner: ownerText(keyOwner(key, config), config?.cluster),
      initiators: initiators ?? null,
    }));
    const { holder } = found;
    const held = holder === undefined ? null : { key: keyText(holder.key), type: holder.type };
    return { ...base, registered, holder: held, error: null };
  } catch (thrown) {
    signal.throwIfAborted();
    if (!among || !(thrown instanceof UnderstudyError)) throw thrown;
    return { ...base, registered: [], holder: null, error: messageOf(thrown) };
  }
}

/** By a name that no data path has: to LIO a session of a registered name is a stranger. */
async function withSession<T>(
  { name, portals, target, chap }: Lun,
  view: View | undefined,
  signal: AbortSignal,
  work: (session: IscsiSession) => Promise<T>,
): Promise<T> {
  const cluster = view === undefined ? undefined : configOf(view)?.cluster;
  const host = hostname()
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-');
  const initiator = `${initiatorName(cluster ?? 'none', 'reservation', host)}.looks`;
  const credentials = await readChap(chap, name);
  const session = await IscsiSession.login(
    portals,
    target,
    initiator,
    signal,
    undefined,
    credentials,
  );
  try {
    return await work(session);
  } finally {
    await session.close();
  }
}

function toldText(told: readonly Told[]): string {
  if (told.length === 0) return 'the cluster’s definition has no volume';
  const rows = told.flatMap(({ volume, target, lun, registered, holder, error }) => {
    const name = volume ?? `LUN ${lun} of ${target}`;
    if (error !== null) return [[name, 'not known', error]];
    if (registered.length === 0) return [[name, 'free', 'nobody is registered']];
    return registered.map(({ key, owner, initiators }) => [
      name,
      key,
      key === holder?.key ? 'holds it' : 'registered',
      owner,
      initiators === null ? '' : [...new Set(initiators)].join(', '),
    ]);
  });
  return table(rows);
}

function say(
  { json }: ReservationOptions,
  volume: string | null,
  { name, target, lun }: Lun,
  removed: readonly bigint[],
): number {
  const keys = removed.map(keyText);
  const text =
    keys.length === 0
      ? `${name}: nobody is registered, nothing to do`
      : `${name}: ${keys.join(', ')} thrown out; whoever the target lets in may write now`;
  process.stdout.write(
    json ? `${JSON.stringify({ volume, target, lun, removed: keys })}\n` : `${text}\n`,
  );
  return 0;
}
