import { type Command, InvalidArgumentError } from 'commander';
import {
  type CommonOptions,
  type Context,
  clusterOptions,
  example,
  finish,
  withClusterOptions,
} from '../context.js';

interface Flags extends CommonOptions {
  readonly portal?: string;
  readonly target?: string;
  readonly lun?: number;
  readonly chapUser?: string;
  readonly chapSecret?: string;
  readonly yes?: boolean;
}

/** Reservations that are left on a LUN: to be seen, and cleared where nobody takes them over. */
export function register(program: Command, context: Context): void {
  const reservation = program
    .command('reservation')
    .description('persistent reservations of volumes: see them, clear one that was left');
  example(reservation, 'understudy reservation show', 'understudy reservation clear web1-data');
  const below = (name: string, description: string) =>
    withClusterOptions(reservation.command(name))
      .description(description)
      .option('--portal <address>', 'instead of a volume: ADDRESS:PORT of the LUN’s target')
      .option('--target <iqn>', 'its name')
      .option('--lun <number>', 'its LUN', lunNumber)
      .option('--chap-user <name>', 'for CHAP')
      .option('--chap-secret <file>', 'file with the secret, mode 0600');

  const show = below('show', 'who is registered, and who holds it; changes nothing')
    .argument('[volume]', 'of the cluster’s definition; left out: all')
    .action(async (volume: string | undefined, flags: Flags) => {
      const place = placeOf(show, flags, volume, false);
      const { show: run } = await import('../run/reservation.js');
      const common = clusterOptions(flags, context);
      await finish(flags.json, () => run({ ...common, volume, place }));
    });
  example(
    show,
    'understudy reservation show',
    'understudy reservation show --portal 10.77.0.1:3260 --target iqn.2026-11.example.san:web1 --lun 1',
  );
  const clear = below('clear', 'throw out who is registered; refused while an owner has the volume')
    .argument('[volume]', 'of the cluster’s definition')
    .option('--yes', 'I have made sure that no host that ever had it can write any more')
    .action(async (volume: string | undefined, flags: Flags) => {
      const place = placeOf(clear, flags, volume, true);
      const { clear: run } = await import('../run/reservation.js');
      const common = clusterOptions(flags, context);
      const yes = flags.yes ?? false;
      await finish(flags.json, () => run({ ...common, volume, place, yes }));
    });
  example(
    clear,
    'understudy reservation clear web1-data',
    'understudy reservation clear --portal 10.77.0.1:3260 --target iqn.2026-11.example.san:web1 --lun 1 --yes',
  );
}

/** A volume, or all three of where it is. */
function placeOf(command: Command, flags: Flags, volume: string | undefined, one: boolean) {
  const { portal, target, lun, chapUser, chapSecret } = flags;
  const given = [portal, target, lun, chapUser, chapSecret].some((value) => value !== undefined);
  if (!given) {
    if (one && volume === undefined)
      wrong(command, 'name a volume, or --portal, --target and --lun');
    return undefined;
  }
  if (volume !== undefined)
    wrong(command, 'name a volume or --portal, --target and --lun, not both');
  if (portal === undefined || target === undefined || lun === undefined) {
    return wrong(command, '--portal, --target and --lun go together');
  }
  if ((chapUser === undefined) !== (chapSecret === undefined)) {
    wrong(command, '--chap-user and --chap-secret go together');
  }
  const chap =
    chapUser === undefined || chapSecret === undefined
      ? undefined
      : { user: chapUser, secretFile: chapSecret };
  return { portal, target, lun, chap };
}

function wrong(command: Command, what: string): never {
  command.error(`error: ${what}`, { exitCode: 2 });
}

function lunNumber(text: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number <= 16_383) return number;
  throw new InvalidArgumentError('write a number from 0 to 16383');
}
