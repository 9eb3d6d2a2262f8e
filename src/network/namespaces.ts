import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, UnderstudyError } from '../errors.js';
import { inNetworkNamespace } from '../ffi/namespace.js';
import {
  isNamespaceMounted,
  makeNamespace,
  namespaceIdentity,
  removeNamespaceName,
} from '../ffi/namespace-mount.js';
import { closedError, type Purpose } from './netlink/error.js';
import { changeRequest, findLink } from './netlink/links.js';
import { NetlinkTransport, type RequestOptions } from './netlink/transport.js';
import { parseTag, type Tag, tagText } from './tag.js';

export interface NamespaceOptions {
  /** Folder of named namespaces. Default /run/netns. */
  readonly runDirectory?: string | undefined;
  /** Namespace the host's own NICs are in. Default: that of this process. */
  readonly hostNamespacePath?: string | undefined;
  /** Default 'us-' and 'usn-'. */
  readonly namespacePrefix?: string | undefined;
  readonly networkPrefix?: string | undefined;
}

/** lo is the first device of every namespace. */
const loopbackIndex = 1;

/** The namespaces of this host by path, each with one kept rtnetlink socket. */
export class Namespaces {
  readonly #runDirectory: string;
  readonly #hostPath: string;
  readonly #namespacePrefix: string;
  readonly #networkPrefix: string;
  readonly #sockets = new Map<string, { identity: string; netlink: NetlinkTransport }>();
  #host: NetlinkTransport | undefined;
  #closed = false;

  constructor(options: NamespaceOptions) {
    this.#runDirectory = options.runDirectory ?? '/run/netns';
    this.#hostPath = options.hostNamespacePath ?? '/proc/thread-self/ns/net';
    this.#namespacePrefix = options.namespacePrefix ?? 'us-';
    this.#networkPrefix = options.networkPrefix ?? 'usn-';
  }

  /** Of a personality's or service's namespace. */
  rolePath(name: string): string {
    return join(this.#runDirectory, `${this.#namespacePrefix}${name}`);
  }

  networkPath(network: string): string {
    return join(this.#runDirectory, `${this.#networkPrefix}${network}`);
  }

  /** Paths of everything named like a role's namespace; whose they are only their tag tells. */
  rolePaths(): readonly string[] {
    return this.#pathsWith(this.#namespacePrefix);
  }

  networkPaths(): readonly string[] {
    return this.#pathsWith(this.#networkPrefix);
  }

  #pathsWith(prefix: string): readonly string[] {
    let names: readonly string[];
    try {
      names = readdirSync(this.#runDirectory);
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw thrown;
    }
    return names
      .filter((name) => name.startsWith(prefix))
      .sort()
      .map((name) => join(this.#runDirectory, name))
      .filter(isNamespaceMounted);
  }

  /** Runs one synchronous step where the host's own NICs are. */
  insideHost<T>(action: () => T): T {
    return inNetworkNamespace(this.#hostPath, action);
  }

  host(): NetlinkTransport {
    this.#refuseWhenClosed();
    this.#host ??= inNetworkNamespace(this.#hostPath, () => new NetlinkTransport());
    return this.#host;
  }

  exists(path: string): boolean {
    return isNamespaceMounted(path);
  }

  /** The socket kept for the namespace mounted at `path` now. */
  at(path: string): NetlinkTransport {
    this.#refuseWhenClosed();
    const identity = namespaceIdentity(path);
    const kept = this.#sockets.get(path);
    if (kept?.identity === identity) return kept.netlink;
    this.forget(path);
    const netlink = inNetworkNamespace(path, () => new NetlinkTransport());
    this.#sockets.set(path, { identity, netlink });
    return netlink;
  }

  /** Closes the socket: a namespace lives as long as anything in it. */
  forget(path: string): void {
    this.#sockets.get(path)?.netlink.close();
    this.#sockets.delete(path);
  }

  /** Makes a namespace, tagged and with lo up before anybody can find it by its name. */
  create(path: string, tag: Tag, prepare: () => void, purpose: Purpose): void {
    this.#refuseWhenClosed();
    this.forget(path);
    const alias = tagText(tag);
    let opened: NetlinkTransport | undefined;
    try {
      makeNamespace(path, () => {
        prepare();
        opened = new NetlinkTransport();
        opened.requestNow(changeRequest(loopbackIndex, { up: true, alias }), purpose);
      });
    } catch (thrown) {
      opened?.close();
      if (thrown instanceof UnderstudyError) throw thrown;
      throw new UnderstudyError(
        {
          code: 'US_NET_NAMESPACE',
          ...purpose,
          cause: `the network namespace cannot be made: ${messageOf(thrown)}`,
          remedy: 'run the agent as root (CAP_SYS_ADMIN), with /run/netns writable',
        },
        { cause: thrown },
      );
    }
    if (opened !== undefined) {
      this.#sockets.set(path, { identity: namespaceIdentity(path), netlink: opened });
    }
  }

  /** Takes the name away, and with the last user of it the namespace and all devices left in it. */
  remove(path: string, purpose: Purpose): void {
    this.forget(path);
    try {
      removeNamespaceName(path);
    } catch (thrown) {
      throw new UnderstudyError(
        {
          code: 'US_NET_NAMESPACE',
          ...purpose,
          cause: `the name ${path} cannot be removed: ${messageOf(thrown)}`,
          remedy: `look who holds it: findmnt ${path}`,
        },
        { cause: thrown },
      );
    }
  }

  /**
   * Whose namespace it is; undefined for one that is not ours. That is asked on a socket of its own, unless
   * one is kept: a socket that stayed in somebody else's namespace would keep it from ending.
   */
  async tagOf(path: string, options: RequestOptions): Promise<Tag | undefined> {
    this.#refuseWhenClosed();
    const kept = this.#sockets.get(path);
    if (kept?.identity === namespaceIdentity(path)) return tagIn(kept.netlink, options);
    const netlink = inNetworkNamespace(path, () => new NetlinkTransport());
    try {
      return await tagIn(netlink, options);
    } finally {
      netlink.close();
    }
  }

  /** A job that was still running must not open sockets again that nobody would close. */
  #refuseWhenClosed(): void {
    if (this.#closed) throw closedError({ action: 'cannot use', object: 'the network adapter' });
  }

  close(): void {
    this.#closed = true;
    for (const path of [...this.#sockets.keys()]) this.forget(path);
    this.#host?.close();
    this.#host = undefined;
  }
}

async function tagIn(netlink: NetlinkTransport, options: RequestOptions): Promise<Tag | undefined> {
  const loopback = await findLink(netlink, 'lo', options);
  return parseTag(loopback?.alias ?? '');
}

export { loopbackIndex };
