import { status } from '@grpc/grpc-js';
import { test } from 'tap';
import { inWords } from '../../src/store/wording.js';

const said = (code: number, message: string) =>
  inWords(Object.assign(new Error(message), { code }));

test('what gRPC says of a member, in words', (t) => {
  const { UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED } = status;
  t.equal(
    said(
      DEADLINE_EXCEEDED,
      '4 DEADLINE_EXCEEDED: Deadline exceeded after 0.760s,metadata filters: 0.001s,remote_addr=10.66.255.1:2379',
    ),
    'no answer in time',
  );
  t.equal(
    said(
      UNAVAILABLE,
      '14 UNAVAILABLE: No connection established. Last error: Error: connect ECONNREFUSED 127.0.0.1:9. Resolution note: ',
    ),
    'connection refused (ECONNREFUSED)',
  );
  t.equal(
    said(
      UNAVAILABLE,
      '14 UNAVAILABLE: No connection established. Last error: Error: self-signed certificate in certificate chain. Resolution note: ',
    ),
    'self-signed certificate in certificate chain',
  );
  t.equal(
    said(UNAVAILABLE, '14 UNAVAILABLE: Name resolution failed for target dns:etcd:2379'),
    'Name resolution failed for target dns:etcd:2379',
  );
  t.equal(said(UNAVAILABLE, '14 UNAVAILABLE: etcdserver: no leader'), 'etcdserver: no leader');
  t.equal(
    said(RESOURCE_EXHAUSTED, '8 RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded'),
    'etcdserver: mvcc: database space exceeded',
  );
  t.equal(inWords('a text'), 'a text');
  t.end();
});
