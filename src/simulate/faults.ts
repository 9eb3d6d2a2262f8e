import type { FaultMaker } from './fault.js';
import { hostFaults } from './host-faults.js';
import { networkFaults } from './network-faults.js';
import { operatorActs } from './operator-acts.js';
import { orderedFaults } from './ordered-faults.js';
import { storeFaults } from './store-faults.js';

/** Everything that is known to go wrong, and what operators do meanwhile. */
export const faultKinds: Readonly<Record<string, FaultMaker>> = {
  ...hostFaults,
  ...networkFaults,
  ...storeFaults,
  ...operatorActs,
};

/** Also those that no seed chooses by itself: two things at once that a test asks for. */
export const allFaultKinds: Readonly<Record<string, FaultMaker>> = {
  ...faultKinds,
  ...orderedFaults,
};
