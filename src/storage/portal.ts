import { isIP } from 'node:net';
import { UnderstudyError } from '../errors.js';

/** libiscsi resolves host names synchronously, which would stop the event loop for seconds. */
export function assertNumericPortal(portal: string): void {
  const { host, port } = splitPortal(portal);
  if (isIP(host) !== 0 && port > 0 && port < 65536) return;
  throw new UnderstudyError({
    code: 'US_STORAGE_PORTAL',
    action: 'cannot use portal',
    object: portal,
    cause: 'a portal is an address and a port, not a name',
    remedy: 'write 192.0.2.1:3260 or [2001:db8::1]:3260',
  });
}

/** Takes `192.0.2.1:3260` or `[2001:db8::1]:3260` apart; the port defaults to 3260. */
export function splitPortal(portal: string): { host: string; port: number } {
  const found = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(portal);
  return { host: found?.[1] ?? found?.[2] ?? '', port: Number(found?.[3] ?? 3260) };
}
