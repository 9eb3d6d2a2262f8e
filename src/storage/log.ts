/** What the storage parts log with; pino's logger fits. */
export interface Log {
  debug(details: object, text: string): void;
  info(details: object, text: string): void;
  warn(details: object, text: string): void;
}

export const silent: Log = { debug() {}, info() {}, warn() {} };
