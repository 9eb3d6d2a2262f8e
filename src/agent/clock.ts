/** Time, handed in. */
export interface Clock {
  /** CLOCK_BOOTTIME in ms: goes on through suspend, never back. */
  bootMs(): number;
  unixMs(): number;
}
