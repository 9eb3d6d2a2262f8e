/** Whom something is the matter with; as often as it was added it must be removed. */
export class Afflicted {
  readonly #times = new Map<string, number>();

  has(name: string): boolean {
    return this.#times.has(name);
  }

  add(name: string): void {
    this.#times.set(name, (this.#times.get(name) ?? 0) + 1);
  }

  remove(name: string): void {
    const left = (this.#times.get(name) ?? 0) - 1;
    if (left > 0) this.#times.set(name, left);
    else this.#times.delete(name);
  }
}

/** The ways between clients and the store, by who is at the client's end. */
export class StoreRoads {
  readonly cut = new Afflicted();
  readonly lateRequests = new Afflicted();
  readonly lateNews = new Afflicted();
}
