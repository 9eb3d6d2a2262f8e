/**
 * Runs inside a client: reads URL again and again and prints `ok WALLCLOCKMS` for every answer that
 * is exactly EXPECTED. Usage: http-loop URL EXPECTED PAUSEMS TIMEOUTMS. Ends on SIGINT.
 */
import { get } from 'node:http';

const [url = '', expected = '', pauses = '', timeout = ''] = process.argv.slice(2);
const pauseMs = Number(pauses);
const timeoutMs = Number(timeout);

function once(): void {
  let over = false;
  const again = () => {
    if (!over) setTimeout(once, pauseMs);
    over = true;
  };
  const request = get(url, { agent: false, timeout: timeoutMs }, (response) => {
    let body = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      body += chunk;
    });
    response.on('end', () => {
      if (response.statusCode === 200 && body.trim() === expected) {
        process.stdout.write(`ok ${performance.timeOrigin + performance.now()}\n`);
      }
      again();
    });
    response.on('error', again);
  });
  request.on('timeout', () => request.destroy(new Error('no answer in time')));
  request.on('error', again);
}

process.on('SIGINT', () => process.exit(0));
once();
