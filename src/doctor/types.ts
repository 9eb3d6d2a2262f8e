/** What a check found. `not-applicable`: there is nothing here that it could be about. */
export type Verdict = 'ok' | 'warning' | 'problem' | 'not-applicable';

export interface Finding {
  readonly verdict: Verdict;
  /** What was looked at, and what was there. */
  readonly saw: string;
  /** What the reader should do; '' where nothing. */
  readonly remedy: string;
}

/** One question, answered from facts alone. */
export interface Check<Facts> {
  /** Stable; docs/reference/doctor.md has a line for each. */
  readonly id: string;
  readonly title: string;
  judge(facts: Facts): Finding;
}

/** `doctor --json` lists these. */
export interface Result extends Finding {
  readonly scope: 'host' | 'cluster';
  readonly id: string;
  readonly title: string;
}

export const ok = (saw: string): Finding => ({ verdict: 'ok', saw, remedy: '' });
export const notApplicable = (saw: string): Finding => ({
  verdict: 'not-applicable',
  saw,
  remedy: '',
});
export const warning = (saw: string, remedy: string): Finding => ({
  verdict: 'warning',
  saw,
  remedy,
});
export const problem = (saw: string, remedy: string): Finding => ({
  verdict: 'problem',
  saw,
  remedy,
});

export function examine<Facts>(
  scope: Result['scope'],
  checks: readonly Check<Facts>[],
  facts: Facts,
): readonly Result[] {
  return checks.map(({ id, title, judge }) => ({ scope, id, title, ...judge(facts) }));
}
