/**
 * Runs inside a client: one HTTP request from each source port of a range, and prints one line for
 * each, `PORT BODY` or `PORT !ERROR`. Usage: http-ports HOST FIRSTPORT COUNT [PARALLEL TIMEOUTMS].
 */
import { request } from 'node:http';

const [host = '', first = '0', count = '0', parallel = '8', timeout = '3000'] =
  process.argv.slice(2);
const timeoutMs = Number(timeout);

function ask(localPort: number): Promise<string> {
  return new Promise((resolve) => {
    const failed = (error: Error) => resolve(`!${error.message}`);
    const asked = request(
      { host, port: 80, path: '/name', localPort, agent: false, timeout: timeoutMs },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          body += chunk;
        });
        response.on('end', () => resolve(body.trim()));
        response.on('error', failed);
      },
    );
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')));
    asked.on('error', failed);
    asked.end();
  });
}

let next = Number(first);
const end = next + Number(count);

async function worker(): Promise<void> {
  while (next < end) {
    const port = next++;
    process.stdout.write(`${port} ${await ask(port)}\n`);
  }
}

await Promise.all(Array.from({ length: Number(parallel) }, worker));
