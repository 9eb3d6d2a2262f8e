import { buildTable, type DispatchTable, type TableSpec, takesFlows } from './table.js';

/** 131 KB each. */
const mostTables = 16;

/** How a table comes about; `buildTable`, or a shelf that has it already. */
export type Tables = (spec: TableSpec) => DispatchTable;

/** The tables that were asked for last: what was made ahead need not be made when it counts. */
export class TableShelf {
  /** Slots by what they are made of, the one used last at the end. */
  readonly #slots = new Map<string, Uint16Array>();

  /** The same as `buildTable`; its slots are shared, and not to be written to. */
  readonly tableOf: Tables = (spec) => {
    const members = [...spec.members].sort((one, other) =>
      one.personality < other.personality ? -1 : one.personality > other.personality ? 1 : 0,
    );
    const takers = members.map((member) =>
      takesFlows(member) ? [member.personality, member.weight] : [member.personality],
    );
    const key = JSON.stringify(takers);
    const known = this.#slots.get(key);
    const table = known === undefined ? buildTable(spec) : { members, slots: known };
    this.#slots.delete(key);
    this.#slots.set(key, table.slots);
    const [oldest] = this.#slots.keys();
    if (this.#slots.size > mostTables && oldest !== undefined) this.#slots.delete(oldest);
    return table;
  };

  get size(): number {
    return this.#slots.size;
  }
}
