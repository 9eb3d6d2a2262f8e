import type { ClusterConfig } from '../config/types.js';
import { incarnationId, type View } from './view.js';

/** More than half of them. */
export const majority = (controllers: number): number => Math.floor(controllers / 2) + 1;

/**
 * The votes that stand in the store against one incarnation, of controllers that the configuration
 * names, each counted once. A withdrawn vote does not stand.
 */
export function standingVotes(
  view: View,
  config: ClusterConfig,
  host: string,
  incarnation: number,
): readonly StandingVote[] {
  const votes = view.votes.get(incarnationId(host, incarnation));
  if (votes === undefined) return [];
  return config.controllers.flatMap((controller) => {
    const vote = votes.get(controller);
    return vote?.value.state === 'expired'
      ? [{ controller, revision: vote.revision, ...vote.value }]
      : [];
  });
}

export interface StandingVote {
  readonly controller: string;
  readonly revision: number;
  readonly lastAckAgoMs: number | null;
  readonly atMs: number;
  readonly bootId: string;
}

/** Whether a majority of the controllers says that this incarnation's lease is over. */
export function isExpired(view: View, config: ClusterConfig, host: string, incarnation: number) {
  return (
    standingVotes(view, config, host, incarnation).length >= majority(config.controllers.length)
  );
}

/** Whether this incarnation can never again be effective: voted out, or retired by a commit. */
export function isShutOut(view: View, config: ClusterConfig, host: string, incarnation: number) {
  return (
    view.retired.has(incarnationId(host, incarnation)) || isExpired(view, config, host, incarnation)
  );
}

/**
 * Controllers that by their own standing votes hear less than a majority of the controllers, where
 * no majority agrees with them. What is wrong is with them: cut off, they vote against everybody. So their votes say little about
 * others, and their hosts cannot get a lease.
 */
export function outOfTouch(view: View, config: ClusterConfig): ReadonlySet<string> {
  const { controllers } = config;
  const votedAgainst = new Map<string, number>();
  for (const name of controllers) {
    const incarnation = view.hosts.get(name)?.value.incarnation;
    // What a majority says too is no sign of deafness.
    if (incarnation === undefined || isShutOut(view, config, name, incarnation)) continue;
    for (const { controller } of standingVotes(view, config, name, incarnation)) {
      if (controller === name) continue;
      votedAgainst.set(controller, (votedAgainst.get(controller) ?? 0) + 1);
    }
  }
  const needed = majority(controllers.length);
  const deaf = [...votedAgainst].filter(([, count]) => controllers.length - count < needed);
  return new Set(deaf.map(([controller]) => controller));
}

/** `host/incarnation` of every host of the configuration that is enrolled and not shut out. */
export function enrolledIncarnations(view: View): readonly string[] {
  const config = view.config?.value.config;
  if (config === undefined) return [];
  return config.hosts.flatMap(({ name }) => {
    const incarnation = view.hosts.get(name)?.value.incarnation;
    if (incarnation === undefined || isShutOut(view, config, name, incarnation)) return [];
    return [incarnationId(name, incarnation)];
  });
}
