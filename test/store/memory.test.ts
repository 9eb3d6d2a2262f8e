import t from 'tap';
import { MemoryBackend, MemoryStore } from '../../src/store/memory.js';
import { storeCompliance } from './compliance.js';

storeCompliance(t, async () => {
  const backend = new MemoryBackend();
  return () => new MemoryStore(backend);
});
