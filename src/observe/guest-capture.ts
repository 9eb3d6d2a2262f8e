import { messageOf } from '../errors.js';
import { decode } from './frames.js';
import type { CapturedFrame, Listening } from './observers.js';
import { PcapReader } from './pcap.js';

/** The part of a lab that this needs: a command in a node, whose output comes when it has ended. */
export interface Commands {
  exec(
    node: string,
    argv: readonly string[],
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
}

/** Prints the number of tcpdump's process once that listens. Arguments: device, filter, file. */
const start = `tcpdump -i "$1" -n -U --immediate-mode -s 512 -Z root -w "$3" "$2" < /dev/null > "$3.said" 2>&1 &
until grep -q 'listening on' "$3.said"; do
  kill -0 $! || { cat "$3.said" >&2; rm "$3.said"; exit 1; }
  sleep 0.1
done
echo $!`;

/** Prints what was captured, as text. Arguments: process, file. */
const finish = `kill -INT "$1"
while kill -0 "$1" 2> /dev/null; do sleep 0.1; done
base64 -w 0 "$2"
rm -f "$2" "$2.said"`;

let captures = 0;

/**
 * Every frame that one interface saw where nothing can be read while it runs: in a virtual machine, whose
 * guest agent hands output over at a command's end. So the frames are there after `stop`.
 */
export class GuestCapture implements Listening {
  readonly #commands: Commands;
  readonly #node: string;
  readonly #file = `/run/capture-${process.pid}-${++captures}`;
  readonly #started: Promise<string>;
  #frames: readonly CapturedFrame[] = [];
  #stopped = false;

  /** `filter` is tcpdump's (pcap-filter(7)). */
  constructor(commands: Commands, node: string, device: string, filter: string) {
    this.#commands = commands;
    this.#node = node;
    this.#started = this.#run(start, device, filter, this.#file).then((pid) => pid.trim());
    // Whoever awaits `ready` hears of the failure.
    this.#started.catch(() => undefined);
  }

  get ready(): Promise<void> {
    return this.#started.then(() => undefined);
  }

  get frames(): readonly CapturedFrame[] {
    return this.#frames;
  }

  async stop(): Promise<void> {
    const pid = await this.#started.catch(() => undefined);
    if (pid === undefined || this.#stopped) return;
    this.#stopped = true;
    const text = await this.#run(finish, pid, this.#file);
    this.#frames = new PcapReader().push(Buffer.from(text, 'base64')).flatMap((captured) => {
      const seen = decode(captured.frame);
      return seen === undefined ? [] : [{ ...captured, seen }];
    });
  }

  async #run(script: string, ...words: readonly string[]): Promise<string> {
    try {
      const argv = ['sh', '-c', script, 'capture', ...words];
      const { code, stdout, stderr } = await this.#commands.exec(this.#node, argv);
      if (code === 0) return stdout;
      throw new Error(stderr.trim() || `exit code ${code}`);
    } catch (thrown) {
      throw new Error(`tcpdump in ${this.#node}: ${messageOf(thrown)}`, { cause: thrown });
    }
  }
}
