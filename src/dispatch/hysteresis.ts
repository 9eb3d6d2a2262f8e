/** Health of one member: it takes this many equal answers in a row to change it. */
export interface Health {
  readonly up: boolean;
  /** Answers in a row that say otherwise. */
  readonly against: number;
}

export const initialHealth: Health = { up: true, against: 0 };

/** Two failures in a row take a member out; one success brings it back. */
export const failuresToGoDown = 2;

export function observe(health: Health, answered: boolean): Health {
  if (answered) return { up: true, against: 0 };
  const against = health.against + 1;
  return { up: health.up && against < failuresToGoDown, against };
}
