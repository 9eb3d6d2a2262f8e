import { setFlagsFromString } from 'node:v8';

/**
 * From now on all of a module is compiled when it is imported. V8 otherwise compiles a function when it is
 * first called: most of a takeover would be, in the very instant that a client waits for. And it throws away
 * what has not run over a few collections of garbage, which a takeover's code never has. To be called
 * before a daemon's own modules are imported (v8.setFlagsFromString, V8's --lazy and --flush-bytecode).
 */
export function compileAhead(): void {
  setFlagsFromString('--no-lazy');
  setFlagsFromString('--no-flush-bytecode');
}
