import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureLeaseMap, leaseName } from '../src/bpf/lease.js';
import { type BpfPlace, pinFolder } from '../src/bpf/place.js';
import { keyOf32 } from '../src/bpf/programs.js';
import { DataPlane } from '../src/dispatch/data-plane.js';
import { Planner } from '../src/dispatch/layout.js';
import type { DispatchSpec } from '../src/dispatch/types.js';
import { openLeaseMap } from '../src/fencing/lease-map.js';
import { updateElement } from '../src/ffi/bpf-map.js';

/** This file is dist/bench/bench-plane.js when it runs. */
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const objects = here('./native');

/** The dispatcher with the programs of the bench beside it. */
export function compile(): void {
  mkdirSync(objects, { recursive: true });
  const machine = execFileSync('uname', ['-m'], { encoding: 'utf8' }).trim();
  const object = join(objects, 'dispatch.bpf.o');
  const flags = ['-O2', '-g', '-Wall', '-target', 'bpf', '-mcpu=v3'];
  const include = `-I/usr/include/${machine}-linux-gnu`;
  const source = here('../../bench/dispatch.bpf.c');
  execFileSync('clang', [...flags, include, '-c', source, '-o', object]);
  execFileSync('llvm-strip', ['-g', object]);
}

/** A bpf filesystem of the bench's own. */
export function ownPlace(): { readonly place: BpfPlace; remove(): void } {
  const bpffs = mkdtempSync(join(tmpdir(), 'usbench-bpffs-'));
  const place = { bpffs, mountBpffs: true, objectDirectory: objects };
  pinFolder(place);
  const remove = () => {
    execFileSync('umount', [bpffs]);
    rmdirSync(bpffs);
  };
  return { place, remove };
}

export interface Scene {
  readonly members: number;
  readonly services: number;
  readonly flows: number;
  readonly tcpFlags: number;
  /** Drain one member first, so that its slots are tracked. */
  readonly drain?: boolean;
}

/** SYN; ACK. */
export const [syn, ack] = [0x02, 0x10];

export const memberMac = (number: number) =>
  `02:00:00:01:${hexByte(number >> 8)}:${hexByte(number & 255)}`;
const hexByte = (byte: number) => byte.toString(16).padStart(2, '0');

export function specs({ members, services }: Scene, drained: boolean): readonly DispatchSpec[] {
  const list = Array.from({ length: members }, (_, at) => ({
    personality: `m${at}`,
    mac: memberMac(at),
    weight: drained && at === 0 ? 0 : 1,
    healthy: true,
  }));
  return Array.from({ length: services }, (_, at) => ({
    service: `s${at}`,
    namespace: `svc-s${at}`,
    incarnation: 1,
    mac: `02:00:00:00:${hexByte(at >> 8)}:${hexByte(at & 255)}`,
    addresses: [`10.1.${at >> 8}.${at & 255}`],
    ports: [{ protocol: 'tcp' as const, first: 80, last: 80 }],
    hash: 'source-ip-port' as const,
    members: list,
    seed: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
  }));
}

/** One dispatcher with its own tables and flows. */
export class BenchPlane {
  readonly plane: DataPlane;
  readonly scene: Scene;

  private constructor(plane: DataPlane, scene: Scene) {
    this.plane = plane;
    this.scene = scene;
  }

  static async make(place: BpfPlace, scene: Scene): Promise<BenchPlane> {
    const path = join(pinFolder(place), leaseName(1));
    ensureLeaseMap(path);
    const lease = openLeaseMap(path);
    lease.raise(0xffff_ffff_ffff_ffffn);
    lease.close();
    const plane = new DataPlane(place, 1, 'all');
    for (const drained of scene.drain === true ? [false, true] : [false]) {
      const planner = new Planner(plane.layout, 1_000);
      for (const spec of specs(scene, drained)) planner.put(spec);
      const { layout, fresh } = planner.finish();
      await plane.commit(layout, fresh, 1_000);
    }
    const made = new BenchPlane(plane, scene);
    made.flows();
    return made;
  }

  /** From here on frames become these flows. */
  flows(tcpFlags = this.scene.tcpFlags, flows = this.scene.flows): void {
    const value = Buffer.alloc(88);
    value.writeUInt32LE(flows - 1, 8);
    value.writeUInt32LE(this.scene.services - 1, 12);
    value.writeUInt32LE(tcpFlags, 16);
    value.writeUInt32LE(headerSum(benchFrame), 20);
    benchFrame.copy(value, 24, 0, 60);
    updateElement(this.plane.mapFd('bench_flows'), keyOf32(0), value);
  }

  programFd(name: string): number {
    return this.plane.programFd(1, name);
  }
}

/** TCP to port 80 of 10.1.0.0, 60 bytes. */
export const benchFrame = Buffer.concat([
  Buffer.from('0200000000000200aaaabbbb0800', 'hex'),
  Buffer.from('4500002e000040004006000000000000', 'hex'),
  Buffer.from('0a010000', 'hex'),
  Buffer.from('000000500000000100000001501000ff00000000', 'hex'),
  Buffer.alloc(6),
]);

function headerSum(frame: Buffer): number {
  let sum = 0;
  for (const at of [14, 16, 18, 20, 22]) sum += frame.readUInt16LE(at);
  return sum;
}
