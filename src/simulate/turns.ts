/** Jobs with the same name one after the other, as the real adapters do them. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  take<T>(name: string, job: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name) ?? Promise.resolve();
    const mine = before.then(job, job);
    this.#last.set(name, mine);
    return mine;
  }
}
