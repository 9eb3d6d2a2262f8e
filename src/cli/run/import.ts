import { parseClusterFile } from '../../config/parse.js';
import type { ClusterConfig } from '../../config/types.js';
import { writeClusterFile } from '../../config/write.js';
import { UnderstudyError } from '../../errors.js';
import { convertKeepalived, type Note } from '../../migrate/keepalived.js';
import { readTranslation, translate } from '../../migrate/translate.js';
import { printProblems, readBounded, readClusterFile } from '../cluster-file.js';
import { printable } from '../output.js';

const stillFaulty = 1;

/** A definition for another site, on stdout; what was left as it is, on stderr. */
export async function importSite(options: {
  readonly file: string;
  readonly map: string;
  readonly json: boolean;
}): Promise<number> {
  const { file, map, json } = options;
  const parsed = readClusterFile(file);
  if (!parsed.ok) {
    printProblems(file, parsed.problems, json);
    return 2;
  }
  const { config, notes } = translate(parsed.config, readTranslation(map));
  return told(
    config,
    notes.map((why) => ({ line: 0, text: '', why })),
    file,
    json,
  );
}

/** A keepalived.conf as a cluster file, on stdout; what could not be carried over, on stderr. */
export async function importKeepalived(options: {
  readonly file: string;
  readonly json: boolean;
}): Promise<number> {
  const { file, json } = options;
  const { config, notes } = convertKeepalived(readBounded(file));
  if (config.personalities.length + config.services.length === 0) {
    tell(notes, file);
    throw new UnderstudyError({
      code: 'US_IMPORT_EMPTY',
      action: 'cannot make a cluster file of',
      object: file,
      cause: 'no vrrp_instance with an address is in it, and no virtual_server',
      remedy: 'name the file that has them; included files are not followed',
    });
  }
  return told(config, notes, file, json);
}

/** The file comes out also when it is not sound yet: a person goes on from there. */
function told(config: ClusterConfig, notes: readonly Note[], from: string, json: boolean): number {
  const file = writeClusterFile(config);
  const parsed = parseClusterFile(file);
  const problems = parsed.ok ? [] : parsed.problems;
  if (json) {
    process.stdout.write(`${JSON.stringify({ ok: parsed.ok, file, notes, problems })}\n`);
    return parsed.ok ? 0 : stillFaulty;
  }
  process.stdout.write(file);
  tell(notes, from);
  if (parsed.ok) return 0;
  printProblems('the new file', problems, false);
  return stillFaulty;
}

function tell(notes: readonly Note[], from: string): void {
  for (const { line, text, why } of notes) {
    const where = [from, ...(line === 0 ? [] : [line])].join(':');
    process.stderr.write(printable(`${[where, text, why].filter(Boolean).join(': ')}\n`));
  }
}
