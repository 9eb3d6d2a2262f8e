import { incarnationId, type View } from './view.js';

/**
 * Whether an incarnation that was voted out is silent for sure, so that another host may act in its
 * stead. A majority of votes proves it only where the kernel enforces the lease; elsewhere the host
 * may be alive and merely out of reach.
 *
 * What it rests on never changes back, so a commit need not compare it.
 */
export function isSilent(view: View, host: string, incarnation: number): boolean {
  if (view.fenced.has(incarnationId(host, incarnation))) return true;
  const record = view.hosts.get(host)?.value;
  if (record === undefined) return false;
  // A later incarnation enrols only when nothing of the one before is left.
  if (record.incarnation > incarnation) return true;
  return record.incarnation === incarnation && record.enforced;
}
