/**
 * Writes of one agent that are under way at once. A rack of a hundred hosts that fails is three hundred
 * commits; sent all together none is answered within a try's deadline, and each is sent again.
 */
export const mostWrites = 32;

/**
 * Does a job for each item, in order, at most `limit` at a time; ends when all have ended.
 *
 * @throws what the first of those that failed threw
 */
export async function atMost<T>(
  limit: number,
  items: readonly T[],
  job: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  const failures: unknown[] = [];
  const worker = async () => {
    // One iterator for all: each takes the next.
    for (const item of waiting) {
      try {
        await job(item);
      } catch (thrown) {
        failures.push(thrown);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
}
