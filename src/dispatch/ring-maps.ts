import {
  closeFd,
  createMap,
  lookupElement,
  openInnerMap,
  updateElement,
  updateInnerMap,
} from '../ffi/bpf-map.js';
import { ringShape } from './map-shapes.js';

const only = Buffer.alloc(4);

/**
 * The maps that hold rings, one each, by slot of `dispatch_rings`. A map that is no longer used stays
 * where it is for the next ring that gets its slot: putting in another one takes the kernel some ten ms.
 */
export class RingMaps {
  readonly #outer: number;
  readonly #inner = new Map<number, number>();

  /** @param outer descriptor of `dispatch_rings` */
  constructor(outer: number) {
    this.#outer = outer;
  }

  /** No packet may go by the ring at this slot. */
  async write(slot: number, bytes: Buffer): Promise<void> {
    const there = this.#open(slot);
    if (there !== undefined) {
      updateElement(there, only, bytes);
      return;
    }
    const made = createMap('dispatch_ring', ringShape);
    this.#inner.set(slot, made);
    updateElement(made, only, bytes);
    await updateInnerMap(this.#outer, slot, made);
  }

  read(slot: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    const there = this.#open(slot);
    if (there === undefined) throw new Error(`no ring at ${slot} of dispatch_rings`);
    lookupElement(there, only, bytes);
    return bytes;
  }

  close(): void {
    for (const fd of this.#inner.values()) closeFd(fd);
    this.#inner.clear();
  }

  #open(slot: number): number | undefined {
    const known = this.#inner.get(slot);
    if (known !== undefined) return known;
    const fd = openInnerMap(this.#outer, slot);
    if (fd !== undefined) this.#inner.set(slot, fd);
    return fd;
  }
}
