import { test } from 'tap';
import type { ClusterConfig } from '../../src/config/types.js';
import type { Status } from '../../src/control/status.js';
import { Claims } from '../../src/demo/claims.js';
import { showIsolation } from '../../src/demo/isolation.js';
import { paces } from '../../src/demo/pace.js';
import type { Stage } from '../../src/demo/stage.js';
import { decode } from '../../src/observe/frames.js';
import type { Listening } from '../../src/observe/observers.js';

const mac = '02:00:00:00:00:01';
const nic = (network: string, address: string) => {
  return { network, mac, addresses: [`${address}/24`] };
};

/** A frame of web1 to everybody, or to one; with this tag. */
function frame(to: string, vlan?: number) {
  const tag = vlan === undefined ? '' : `8100${vlan.toString(16).padStart(4, '0')}`;
  const bytes = Buffer.from(`${to}020000000001${tag}0806`, 'hex');
  const seen = decode(bytes);
  if (seen === undefined) throw new Error('no frame');
  return { atMs: 0, frame: bytes, seen };
}

/** A stage on 802.1Q, where `at` says what each place sees once its capture has been stopped. */
function stageOf(at: Readonly<Record<string, readonly ReturnType<typeof frame>[]>>): Stage {
  const capture = (node: string, device: string): Listening => {
    let frames: Listening['frames'] = [];
    const stop = async () => {
      frames = at[node === 'sw' ? device : node] ?? [];
    };
    return {
      ready: Promise.resolve(),
      stop,
      get frames() {
        return frames;
      },
    };
  };
  const status = {
    hosts: [],
    personalities: [
      { name: 'web1', interfaces: [nic('blue', '10.10.0.11')] },
      { name: 'web2', interfaces: [nic('blue', '10.10.0.12')] },
    ],
  } as unknown as Status;
  return {
    lab: {
      exec: async (_node: string, argv: readonly string[]) => {
        return { code: argv.includes('10.20.0.11') ? 1 : 0, stdout: '', stderr: '' };
      },
      capture,
      ports: [
        { host: 'h1', node: 'sw', device: 'int-h1' },
        { host: 'h2', node: 'sw', device: 'int-h2' },
      ],
    },
    claims: new Claims(),
    config: { networks: [{ name: 'blue', fabric: 'vlan', id: 100 }] } as unknown as ClusterConfig,
    pace: paces.vm,
    status: async () => status,
    say: () => undefined,
  } as unknown as Stage;
}

const all = 'ffffffffffff';
const spoken = [frame(all), frame('333300000001'), frame('020000000002')];

async function seen(at: Parameters<typeof stageOf>[0]): Promise<boolean | undefined> {
  const stage = stageOf(at);
  await showIsolation(stage);
  return stage.claims.table.find(({ id }) => id === '1a')?.seen;
}

test('on 802.1Q a LAN is apart when each frame on the cables has its tag', async (t) => {
  const tagged = [frame(all, 100), frame('020000000002', 100)];
  t.equal(await seen({ c1: spoken, 'int-h1': tagged, 'int-h2': tagged }), true);
  const odd = [...tagged, frame(all, 200)];
  t.equal(await seen({ c1: spoken, 'int-h1': tagged, 'int-h2': odd }), false, 'another tag');
  t.equal(await seen({ c1: spoken, 'int-h1': [frame(all)] }), false, 'no tag');
  t.equal(await seen({ c1: spoken }), false, 'nothing on the cables: nothing was looked at');
  t.equal(await seen({ c1: spoken, 'int-h1': tagged, db1: [frame(all)] }), false, 'db1 hears it');
  t.equal(await seen({ 'int-h1': tagged }), false, 'blue itself heard nothing');
});
