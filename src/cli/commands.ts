import * as cluster from './commands/cluster.js';
import * as completion from './commands/completion.js';
import * as daemons from './commands/daemons.js';
import * as demo from './commands/demo.js';
import * as key from './commands/key.js';
import * as lab from './commands/lab.js';
import * as migrate from './commands/migrate.js';
import * as reservation from './commands/reservation.js';
import * as simulate from './commands/simulate.js';
import * as token from './commands/token.js';
import * as validate from './commands/validate.js';
import type { CommandModule } from './context.js';

/** Every command; what one needs is loaded only when it runs. */
export const commands: readonly CommandModule[] = [
  validate,
  cluster,
  daemons,
  key,
  lab,
  migrate,
  reservation,
  simulate,
  token,
  demo,
  completion,
];
