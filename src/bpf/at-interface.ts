import { messageOf, UnderstudyError } from '../errors.js';
import { interfaceIndex } from '../ffi/bpf-filter.js';
import { inNetworkNamespace } from '../ffi/namespace.js';

export interface InterfacePlace {
  /** undefined: the namespace this process is in. */
  readonly namespacePath: string | undefined;
  readonly interfaceName: string;
}

/**
 * Does something to a NIC, in the NIC's own namespace, in one synchronous step.
 *
 * @throws {UnderstudyError} US_BPF_ATTACH with these words, unless the action has its own
 */
export function atInterface<T>(
  { namespacePath, interfaceName }: InterfacePlace,
  words: { readonly action: string; readonly object: string; readonly remedy: string },
  action: (index: number) => T,
): T {
  const act = () => action(interfaceIndex(interfaceName));
  try {
    return namespacePath === undefined ? act() : inNetworkNamespace(namespacePath, act);
  } catch (thrown) {
    if (thrown instanceof UnderstudyError) throw thrown;
    const cause = messageOf(thrown);
    throw new UnderstudyError({ code: 'US_BPF_ATTACH', ...words, cause }, { cause: thrown });
  }
}
