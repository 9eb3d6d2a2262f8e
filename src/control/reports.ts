import type { ReportRecord } from './records.js';
import type { View } from './view.js';

/** A report counts only for the incarnation that wrote it. */
export function currentReport(
  view: View,
  host: string | null | undefined,
  incarnation: number | undefined,
): ReportRecord | undefined {
  if (host === null || host === undefined) return undefined;
  const report = view.reports.get(host)?.value;
  return report?.incarnation === incarnation ? report : undefined;
}
