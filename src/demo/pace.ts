import type { LabConfig } from '../config/types.js';

/** How long the demonstration waits and how often it asks: what a host is decides that. */
export interface Pace {
  /** A power cut until whoever asks is answered again and all is written down. */
  readonly takeoverMs: number;
  /** Power on until the host is a spare. */
  readonly returnMs: number;
  readonly pingEveryMs: number;
  /** Of a client that reads a file again and again. */
  readonly http: { readonly everyMs: number; readonly answerMs: number };
  /** Of a client that asks the shared address from many ports. */
  readonly requests: { readonly atOnce: number; readonly answerMs: number };
  /** Until one echo is given up. */
  readonly echoSeconds: number;
}

export const paces: Readonly<Record<LabConfig['backend'], Pace>> = {
  netns: {
    takeoverMs: 15_000,
    returnMs: 20_000,
    pingEveryMs: 2,
    http: { everyMs: 10, answerMs: 100 },
    requests: { atOnce: 8, answerMs: 3_000 },
    echoSeconds: 1,
  },
  // An emulated processor that is asked more often does little else (docs/vm-lab.md).
  vm: {
    takeoverMs: 180_000,
    returnMs: 600_000,
    pingEveryMs: 100,
    http: { everyMs: 500, answerMs: 10_000 },
    requests: { atOnce: 2, answerMs: 30_000 },
    echoSeconds: 15,
  },
};
