import { spawn } from 'node:child_process';
import { messageOf, UnderstudyError } from '../errors.js';

const timeoutMs = 10_000;
const longestAnswerChars = 4 * 1024 * 1024;
const longestCauseChars = 300;
const missing =
  'apt-get install nftables; the kernel needs CONFIG_NF_TABLES_NETDEV, CONFIG_NFT_FWD_NETDEV and CONFIG_NFT_HASH';

const tooMuch =
  'see nft list ruleset in the namespace of the service: no rules but ours belong there';

/**
 * Runs nft in a network namespace, with orders on its standard input.
 *
 * Equals: `nsenter --net=PATH -- nft ARGUMENTS < ORDERS`
 *
 * @returns what it said
 * @throws {UnderstudyError} US_DISPATCH_NFT
 */
export function runNft(
  service: string,
  namespacePath: string,
  args: readonly string[],
  orders = '',
): Promise<string> {
  const failed = (cause: string, remedy = missing) =>
    new UnderstudyError({
      code: 'US_DISPATCH_NFT',
      action: 'cannot dispatch by nftables service',
      object: service,
      cause: cause.slice(0, longestCauseChars),
      remedy,
    });
  return new Promise((resolve, reject) => {
    const child = spawn('nsenter', [`--net=${namespacePath}`, '--', 'nft', ...args], {
      stdio: 'pipe',
      env: { ...process.env, LC_ALL: 'C' },
    });
    const said = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        said[name] += text;
        if (said[name].length > longestAnswerChars) child.kill('SIGKILL');
      });
    }
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    const settle = (then: () => void) => {
      clearTimeout(timer);
      then();
    };
    child.on('error', (thrown) => settle(() => reject(failed(messageOf(thrown)))));
    child.on('close', (code, signal) =>
      settle(() => {
        if (Object.values(said).some(({ length }) => length > longestAnswerChars)) {
          return reject(failed('nft: its answer is longer than 4 MiB', tooMuch));
        }
        if (code === 0) return resolve(said.stdout);
        const why = signal === null ? `nft: exit code ${code}` : `nft: ${signal}`;
        // Below its words nft repeats the orders, which may be long.
        const [words = ''] = said.stderr.trim().split('\n');
        reject(failed(words === '' ? why : `${why}: ${words}`));
      }),
    );
    // It may end before it has read all: why, it says itself.
    child.stdin.on('error', () => {});
    child.stdin.end(orders);
  });
}
