import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { type ChannelCredentials, credentials } from '@grpc/grpc-js';
import { messageOf, UnderstudyError } from '../../errors.js';
import type { TlsFiles } from '../settings.js';

/**
 * Credentials of one connection. Without a certificate of its own a client is nobody in particular, and
 * etcd with --client-cert-auth turns it away; with one, etcd's roles go by the certificate's common name.
 *
 * @throws {UnderstudyError} US_STORE_TLS
 */
export function credentialsFor(endpoint: string, files: TlsFiles | undefined): ChannelCredentials {
  if (!endpoint.startsWith('https:')) return credentials.createInsecure();
  const { ca, certificate, key } = files ?? {};
  const read = (file: string | undefined) => (file === undefined ? null : readPem(file, false));
  try {
    return credentials.createSsl(
      read(ca),
      key === undefined ? null : readPem(key, true),
      read(certificate),
    );
  } catch (thrown) {
    if (thrown instanceof UnderstudyError) throw thrown;
    // OpenSSL's words: it names no file, and tells no secret.
    throw refused([ca, certificate, key].filter(Boolean).join(', '), messageOf(thrown));
  }
}

function readPem(file: string, secret: boolean): Buffer {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (thrown) {
    throw refused(file, messageOf(thrown));
  }
  try {
    // Of the file that is read, not of whatever has its name a moment later.
    if (secret && (fstatSync(descriptor).mode & 0o077) !== 0) {
      throw refused(file, 'others than its owner may use it: chmod 0600');
    }
    const content = readFileSync(descriptor);
    if (!content.includes('-----BEGIN ')) throw refused(file, 'it is no PEM file');
    return content;
  } finally {
    closeSync(descriptor);
  }
}

function refused(file: string, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORE_TLS',
    action: 'cannot use for TLS to etcd',
    object: file,
    cause,
    remedy: 'correct store.tls (daemons.md), or the file',
  });
}
