import { z } from 'zod';

/** `store:` in a daemon's own file. */
export const storeSettings = z.strictObject({
  endpoints: z.array(z.string()).min(1),
  /** PEM files for https endpoints. They are read anew for each connection, so they may be replaced. */
  tls: z
    .strictObject({
      /** Who may have signed the members' certificates; left out: the system's authorities. */
      ca: z.string().optional(),
      certificate: z.string().optional(),
      /** Mode 0600. */
      key: z.string().optional(),
    })
    .refine(({ certificate, key }) => (certificate === undefined) === (key === undefined), {
      message: 'write certificate and key, or neither',
    })
    .optional(),
});

export type StoreSettings = z.infer<typeof storeSettings>;
export type TlsFiles = NonNullable<StoreSettings['tls']>;
