import { UnderstudyError } from '../../errors.js';
import { NLM_F_DUMP } from './message.js';
import { DumpInterrupted, type NetlinkTransport, type RequestOptions } from './transport.js';

const mostTries = 8;

/**
 * Lists something, and lists it again when the list was interrupted by a change (NLM_F_DUMP_INTR)
 * or part of it was lost: listing changes nothing.
 */
export async function dump(
  netlink: NetlinkTransport,
  type: number,
  body: Buffer,
  options: RequestOptions,
): Promise<readonly Buffer[]> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await netlink.request({ type, flags: NLM_F_DUMP, body }, options);
    } catch (thrown) {
      const lost = thrown instanceof UnderstudyError && thrown.code === 'US_NET_OVERFLOW';
      if (!lost && !(thrown instanceof DumpInterrupted)) throw thrown;
      if (tries === mostTries) throw lost ? thrown : neverQuiet(options);
    }
  }
}

function neverQuiet({ purpose }: RequestOptions): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_BUSY',
    ...purpose,
    cause: `the kernel's list changed under the reader ${mostTries} times in a row`,
    remedy: 'wait; if this persists, look for what keeps adding and removing devices: ip monitor',
  });
}
