import { messageOf, UnderstudyError } from '../errors.js';
import type { Lab } from './lab.js';
import { controlNode } from './plan.js';

/** What a lab asks of its etcd beside the product, by etcd's own JSON gateway (etcd 3.4: /v3). */

const answerSeconds = 1;

interface MemberStatus {
  readonly header: { readonly member_id: string; readonly revision: string };
  readonly leader?: string;
}

/** The etcd node that leads now. @throws {UnderstudyError} US_LAB_ETCD when none says so */
export async function etcdLeader(lab: Lab): Promise<string> {
  const statuses = await Promise.all(lab.plan.etcd.map((member) => statusOf(lab, member.address)));
  const leads = statuses.findIndex(
    (one) => one !== undefined && one.leader === one.header.member_id,
  );
  const found = lab.plan.etcd[leads];
  if (found !== undefined) return found.node;
  throw failed('find the leader of', 'no member says that it leads');
}

/** Forgets the history up to now. @throws {UnderstudyError} US_LAB_ETCD */
export async function compactEtcd(lab: Lab): Promise<void> {
  for (const { address } of lab.plan.etcd) {
    const status = await statusOf(lab, address);
    if (status === undefined) continue;
    const { revision } = status.header;
    const said = await ask(lab, address, 'kv/compaction', { revision, physical: true });
    if (said !== undefined && !('error' in said)) return;
  }
  throw failed('compact', 'no member did it');
}

async function statusOf(lab: Lab, address: string): Promise<MemberStatus | undefined> {
  return (await ask(lab, address, 'maintenance/status', {})) as MemberStatus | undefined;
}

/** Undefined when the member does not answer. */
async function ask(
  lab: Lab,
  address: string,
  path: string,
  body: object,
): Promise<object | undefined> {
  const url = `http://${address}:2379/v3/${path}`;
  const argv = ['curl', '-s', '-m', String(answerSeconds), '-d', JSON.stringify(body), url];
  const ran = await lab.exec(lab.command(controlNode.name, argv));
  if (ran.code !== 0) return undefined;
  try {
    return JSON.parse(ran.stdout) as object;
  } catch (thrown) {
    throw failed('ask', `${path} was answered by no JSON: ${messageOf(thrown)}`);
  }
}

function failed(what: string, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_LAB_ETCD',
    action: `cannot ${what}`,
    object: 'the lab’s etcd',
    cause,
    remedy: 'see that a majority of its members runs: understudy lab status',
  });
}
