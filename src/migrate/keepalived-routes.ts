import { canonical, parseAddress, parsePrefix } from '../config/addresses.js';
import type { RouteConfig } from '../config/types.js';

/** `default via 10.0.0.1`, `10.1.0.0/16 via 10.0.0.1 dev eth0`; with `to` before it or without. */
export function routeOf(words: readonly string[]): RouteConfig | undefined {
  const [to = '', ...rest] = words[0] === 'to' ? words.slice(1) : words;
  const at = Math.max(rest.indexOf('via'), rest.indexOf('gw'));
  const via = at < 0 ? undefined : rest[at + 1];
  const target = to === 'default' || to.includes('/') ? to : `${to}/${to.includes(':') ? 128 : 32}`;
  const known = target === 'default' || parsePrefix(target) !== undefined;
  if (!known || via === undefined || parseAddress(via) === undefined) return undefined;
  const everywhere = via.includes(':') ? '::/0' : '0.0.0.0/0';
  return { to: target === 'default' ? everywhere : canonical(target), via: canonical(via) };
}
