/** What may be sent to a daemon of a lab (signal(7)). */
export const daemonSignals = ['KILL', 'TERM', 'INT', 'HUP', 'STOP', 'CONT'] as const;
export type DaemonSignal = (typeof daemonSignals)[number];
