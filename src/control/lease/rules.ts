/**
 * The rules that keep a lease safe, one switch each, so that a test can break one at a time and
 * show that it is needed. Production code never passes anything but `allRules`.
 *
 * Each was found necessary by a search of every state of the protocol; docs/architecture.md tells
 * the story that goes wrong without it.
 */
export interface Rules {
  /** Holder: the deadline counts from when the heartbeat was sent, not from when its ack arrived. */
  readonly countFromSending: boolean;
  /** Holder: the lease needs acks of more than half of the controllers. */
  readonly majority: boolean;
  /** Holder: one controller counts once, however many of its acks arrive. */
  readonly distinctControllers: boolean;
  /** Holder: effective strictly before the deadline, not at it. */
  readonly strictlyBefore: boolean;
  /** Holder: an ack counts only for the pulse start whose nonce it echoes. */
  readonly ownNonceOnly: boolean;
  /** Controller: acks nothing before it has read the votes that stand in the store. */
  readonly ackOnlyWhenControlled: boolean;
  /** Controller: never acks an incarnation that it stopped. */
  readonly refuseStopped: boolean;
  /** Controller: a stop counts (and the vote may be written) only when every promise ran out. */
  readonly stopAfterPromise: boolean;
  /** Controller: promises of the process before this one are waited for. */
  readonly waitAfterStart: boolean;
  /** Controller: that its process before it may have promised longer is read from the store. */
  readonly rememberLonger: boolean;
  /** Controller: a promise is longer than the lease by the bound on the ratio of clock rates. */
  readonly margin: boolean;
  /** Controller: a promise counts from receiving, on its own clock, not from the sender's stamp. */
  readonly promiseFromReceipt: boolean;
  /** Controller: promises only for a heartbeat newer than every one before. */
  readonly newerOnly: boolean;
  /** Controller: promises only to a holder that lately received this controller's answers. */
  readonly echo: boolean;
  /** Holder: while one set of controllers replaces another, a lease needs majorities of both. */
  readonly leaseOfBothSets: boolean;
  /** Controller: a set is granted under only once it was read, together with the retired marks. */
  readonly readSetFirst: boolean;
  /** Controller: a set that it refused, durably, is granted under no more. */
  readonly refuseOldSet: boolean;
  /** Store: while one set replaces another, a majority of votes is one of both sets. */
  readonly votesOfBothSets: boolean;
  /** Store: old controllers refuse only when every host that is there has moved. */
  readonly hostsMoveFirst: boolean;
  /** Store: the last lease under the old set is waited for before the new set counts alone. */
  readonly waitForLastLease: boolean;
}

export const allRules: Rules = {
  countFromSending: true,
  majority: true,
  distinctControllers: true,
  strictlyBefore: true,
  ownNonceOnly: true,
  ackOnlyWhenControlled: true,
  refuseStopped: true,
  stopAfterPromise: true,
  waitAfterStart: true,
  rememberLonger: true,
  margin: true,
  promiseFromReceipt: true,
  newerOnly: true,
  echo: true,
  leaseOfBothSets: true,
  readSetFirst: true,
  refuseOldSet: true,
  votesOfBothSets: true,
  hostsMoveFirst: true,
  waitForLastLease: true,
};
