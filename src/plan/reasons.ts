import type { ClusterConfig } from '../config/types.js';
import { configOf, type View } from '../control/view.js';

/** Why something of an owner (`personality/web1`, `network/blue`, …) is to change. */
export function reasons(before: View, after: View): (owner: string) => string {
  const known = new Map<string, string>();
  return (owner) => {
    const text = known.get(owner) ?? reasonOf(before, after, owner);
    known.set(owner, text);
    return text;
  };
}

function reasonOf(before: View, after: View, owner: string): string {
  const [kind = '', name = ''] = owner.split('/');
  if (kind === 'timing') return 'hosts, controllers or timing of the file changed';
  if (kind === 'volumes') return 'no personality has it any more';
  if (kind === 'network') return networkReason(before, after, name);
  if (kind === 'ready') return `made ready where ${name} would go if its host failed`;
  const was = before.assignments.get(owner)?.value;
  const will = after.assignments.get(owner)?.value;
  if (will?.host === null || will === undefined) return `${name} is no longer in the file`;
  if (was?.host === null || was === undefined) {
    return `${name} is ${was === undefined ? 'new' : 'placed again'}: ${will.host} is ${will.reason}`;
  }
  if (was.host !== will.host)
    return `${name} goes from ${was.host} to ${will.host}: ${will.reason}`;
  return definitionReason(before, after, owner);
}

/** Which of its own lines changed; else whose. */
function definitionReason(before: View, after: View, owner: string): string {
  const [kind = '', name = ''] = owner.split('/');
  const [old, young] = [configOf(before), configOf(after)];
  const own = changedKeys(definitionOf(old, owner), definitionOf(young, owner));
  if (own.length > 0) return `the file changes ${own.join(', ')} of ${name}`;
  if (kind !== 'personality') return 'the file changes its members';
  const services = (young?.services ?? []).concat(old?.services ?? []).filter(({ members }) => {
    return members.some(({ personality }) => personality === name);
  });
  const names = [...new Set(services.map((service) => service.name))];
  return names.length === 0
    ? 'the file changes what it stands on'
    : `the file changes ${names.join(', ')}, which it is a member of`;
}

function networkReason(before: View, after: View, name: string): string {
  const find = (view: View) => configOf(view)?.networks.find((network) => network.name === name);
  const [old, young] = [find(before), find(after)];
  if (young === undefined) return `${name} is no longer in the file`;
  if (old === undefined) return `${name} is new in the file`;
  const keys = changedKeys(old, young);
  if (keys.length > 0) return `the file changes ${keys.join(', ')} of ${name}`;
  return `it changes which hosts are on ${name}`;
}

function definitionOf(config: ClusterConfig | undefined, owner: string): object {
  const [kind = '', name = ''] = owner.split('/');
  const list = kind === 'service' ? config?.services : config?.personalities;
  return list?.find((one) => one.name === name) ?? {};
}

function changedKeys(a: object, b: object): readonly string[] {
  const [old, young] = [new Map(Object.entries(a)), new Map(Object.entries(b))];
  return [...new Set([...old.keys(), ...young.keys()])].filter(
    (key) => JSON.stringify(old.get(key)) !== JSON.stringify(young.get(key)),
  );
}
