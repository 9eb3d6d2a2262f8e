/** The part of a logger that is used here; pino's fits it. */
export interface NetworkLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}
