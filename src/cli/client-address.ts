import { isIP } from 'node:net';

/** A client as a person writes it: `10.10.0.200:40001`, `[fd00::1]:40001`. */
export interface ClientAddress {
  readonly address: string;
  readonly family: 4 | 6;
  readonly port: number;
}

export const clientAdvice = 'write 10.10.0.200:40001 or [fd00::1]:40001';

/** @returns undefined where the text is no ADDRESS:PORT (IPv6 in brackets, RFC 3986 3.2.2) */
export function clientAddressOf(text: string): ClientAddress | undefined {
  const parsed = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text);
  const address = parsed?.[1] ?? parsed?.[2] ?? '';
  const family = parsed?.[1] === undefined ? 4 : 6;
  const port = Number(parsed?.[3]);
  return isIP(address) === family && port <= 65_535 ? { address, family, port } : undefined;
}
