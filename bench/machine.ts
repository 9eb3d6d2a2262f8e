import { cpus } from 'node:os';

/** On what a page's figures were made. */
export const machine = `${cpus().length} cores, ${cpus()[0]?.model.trim()}, Node ${process.versions.node}`;
