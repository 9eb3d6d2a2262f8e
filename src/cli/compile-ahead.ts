import { setFlagsFromString } from 'node:v8';

/**
 * From now on all of a module is compiled when it is imported. V8 otherwise compiles a function when it is
 * first called: most of a takeover would be, in the very instant that a client waits for. To be called
 * before a daemon's own modules are imported (v8.setFlagsFromString, V8's --lazy).
 */
export function compileAhead(): void {
  setFlagsFromString('--no-lazy');
}
