/** The part of a logger that the store uses; pino's fits it. */
export interface StoreLog {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

export const silent: StoreLog = { debug: () => {}, info: () => {}, warn: () => {} };
