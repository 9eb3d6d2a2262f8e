import { closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { createSecureContext } from 'node:tls';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { messageOf, UnderstudyError } from '../errors.js';
import { repeat, type Timers } from '../store/timers.js';
import { fail, refusal } from './answers.js';
import { Buckets, peerOf } from './buckets.js';
import { boundedHttp, listen, type TlsMaterial } from './http.js';
import { openApiDocument } from './openapi.js';
import { operationRoutes } from './operation-routes.js';
import { mayDo } from './roles.js';
import { get, readingRoutes, rootRoute, serve } from './routes.js';
import { documentSchema } from './schemas.js';
import { busy, type Caller, Tokens } from './tokens.js';
import type { ApiOperations, ApiSource } from './types.js';

export interface RemoteApiSettings {
  readonly bind: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** PEM files; the key 0600. */
  readonly tls: { readonly certificate: string; readonly key: string };
  /** File of tokens, 0600. */
  readonly tokens: string;
}

export interface RemoteApiParts {
  readonly source: ApiSource;
  readonly operations: ApiOperations;
  readonly settings: RemoteApiSettings;
  readonly timers: Timers;
  /** Default 5,000. */
  readonly slowestRequestMs?: number;
  unixMs(): number;
  warn(text: string): void;
}

const mostOfPeer = 16;
/** Certificates are renewed under way: new files are looked for this often. */
const lookForFilesMs = 60_000;

/** HTTPS for callers elsewhere: nothing without a token, each by its role, everything within bounds. */
export class RemoteApi {
  readonly #parts: RemoteApiParts;
  readonly #http: FastifyInstance;
  readonly #server: Server | TlsServer;
  readonly #tokens: Tokens;
  readonly #callers = new WeakMap<FastifyRequest, Caller>();
  readonly #often: Buckets;
  #files: string;
  #stopLooking: (() => void) | undefined;

  /** @throws {UnderstudyError} US_API_TLS */
  constructor(parts: RemoteApiParts) {
    this.#parts = parts;
    const { source, operations, settings, timers } = parts;
    const nowMs = () => timers.nowMs();
    this.#tokens = new Tokens(settings.tokens, { nowMs, unixMs: parts.unixMs });
    this.#often = new Buckets({ burst: 60, everyMs: 50, nowMs });
    this.#files = stampOf(settings.tls);
    const { http, server } = boundedHttp({
      ...parts,
      tls: readTls(settings.tls),
      mostOfPeer,
    });
    this.#http = http;
    this.#server = server;
    http.addHook('onRequest', async (request, reply) => {
      try {
        await this.#admit(request);
      } catch (thrown) {
        // Whoever is not let in sends no body either, and waits for nothing.
        reply.header('connection', 'close');
        await fail(thrown, request, reply);
      }
    });
    const callerOf = (request: FastifyRequest): Caller => {
      const caller = this.#callers.get(request);
      if (caller === undefined) throw busy('nobody was let in');
      return caller;
    };
    const routes = [
      ...readingRoutes(source),
      ...operationRoutes({ host: source.host, operations, callerOf, nowMs }),
    ];
    const document = openApiDocument(source.version, routes, true);
    const described = {
      ...get('/v1/openapi.json', 'this API, as an OpenAPI 3.1 document', documentSchema),
      handle: () => document,
    };
    const paths = ['/', ...routes.map(({ path }) => path), described.path];
    serve(http, [rootRoute(source, paths), ...routes, described]);
  }

  /**
   * @returns the port
   * @throws {UnderstudyError} US_API_BIND
   */
  async start(): Promise<number> {
    const { bind, port } = this.#parts.settings;
    this.#stopLooking = repeat(this.#parts.timers, lookForFilesMs, () => this.renew());
    try {
      return await listen(this.#http, this.#server, bind, port);
    } catch (thrown) {
      this.#stopLooking();
      throw new UnderstudyError({
        code: 'US_API_BIND',
        action: 'cannot serve HTTPS on',
        object: `${bind} port ${port}`,
        cause: messageOf(thrown),
        remedy: 'set remoteApi in agent.yaml to an address of this host and a free port',
      });
    }
  }

  async stop(): Promise<void> {
    this.#stopLooking?.();
    await this.#http.close();
  }

  /** Takes a new certificate for new connections; a broken one leaves the former in place. */
  renew(): void {
    const { settings, warn } = this.#parts;
    const files = stampOf(settings.tls);
    if (files === this.#files) return;
    try {
      const { certificate, key } = readTls(settings.tls);
      if ('setSecureContext' in this.#server)
        this.#server.setSecureContext({ cert: certificate, key, minVersion: 'TLSv1.3' });
      this.#files = files;
    } catch (thrown) {
      warn(messageOf(thrown));
    }
  }

  async #admit(request: FastifyRequest): Promise<void> {
    const peer = peerOf(request.ip);
    if (!this.#often.take(peer)) throw busy('too many requests came from there');
    const caller = await this.#tokens.callerOf(request.headers.authorization, peer);
    const needs = request.routeOptions.config.role ?? 'read';
    if (!mayDo(caller.role, needs)) {
      throw refusal(
        'US_API_ROLE',
        request,
        `${caller.name} has role ${caller.role}, this needs ${needs}`,
        'ask somebody who may',
      );
    }
    this.#callers.set(request, caller);
  }
}

/** @throws {UnderstudyError} US_API_TLS */
function readTls({ certificate, key }: RemoteApiSettings['tls']): TlsMaterial {
  const material = { certificate: readPem(certificate, false), key: readPem(key, true) };
  try {
    createSecureContext({ cert: material.certificate, key: material.key });
  } catch (thrown) {
    // OpenSSL's words: they tell no secret.
    throw unusable(`${certificate}, ${key}`, messageOf(thrown));
  }
  return material;
}

function readPem(file: string, secret: boolean): Buffer {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (thrown) {
    throw unusable(file, messageOf(thrown));
  }
  try {
    if (secret && (fstatSync(descriptor).mode & 0o077) !== 0) {
      throw unusable(file, 'others than its owner may use it: chmod 0600');
    }
    return readFileSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function stampOf({ certificate, key }: RemoteApiSettings['tls']): string {
  return [certificate, key]
    .map((file) => {
      const found = statSync(file, { throwIfNoEntry: false });
      return found === undefined ? 'none' : `${found.ino} ${found.mtimeMs} ${found.size}`;
    })
    .join(', ');
}

function unusable(file: string, cause: string): UnderstudyError {
  const action = 'cannot use for TLS of the API';
  const remedy = 'correct remoteApi.tls (daemons.md), or the file';
  return new UnderstudyError({ code: 'US_API_TLS', action, object: file, cause, remedy });
}
