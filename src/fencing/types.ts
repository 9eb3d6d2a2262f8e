import type { PowerConfig } from '../config/types.js';

/** Switches other hosts off. */
export interface PowerAdapter {
  /**
   * Resolves when the host is off for sure, or was (`action: reboot`).
   *
   * @throws {UnderstudyError} US_POWER_PASSWORD, US_POWER_AGENT, US_POWER_NOT_OFF: nothing is proven
   */
  switchOff(host: string, power: PowerConfig, signal: AbortSignal): Promise<void>;
}
