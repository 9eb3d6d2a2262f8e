/** What a token lets its holder do; each also what stands before it. */
export const roles = ['read', 'operate', 'admin'] as const;
export type Role = (typeof roles)[number];

/** Whether a holder of `has` may do what needs `needs`. */
export const mayDo = (has: Role, needs: Role): boolean =>
  roles.indexOf(has) >= roles.indexOf(needs);
