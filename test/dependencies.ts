/** What npm's lock file says of one package. */
export interface LockedPackage {
  readonly version?: string;
  readonly integrity?: string | undefined;
  readonly resolved?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly license?: string | undefined;
  readonly hasInstallScript?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

export interface Lock {
  readonly lockfileVersion: number;
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

/** What the packages may be. A new one that does not fit is looked at by a person, who adds it here. */
export interface Rules {
  /** Licences of what users run. */
  readonly licences: readonly string[];
  /** More that may serve to build and test: nothing of it is handed on. */
  readonly devLicences: readonly string[];
  /** Packages whose lock entry lacks a licence, by name, with the one in their files. */
  readonly unstated: Readonly<Record<string, string>>;
  /** Packages that have an install script. The set-up runs none of them (`--ignore-scripts`). */
  readonly installScripts: readonly string[];
}

/** How the lock file names the project itself. */
const root = '';
const sha512 = /^sha512-[A-Za-z0-9+/]{86}==$/;
/** A version or a range of versions; nothing with a scheme, a path or another package's name. */
const ofRegistry = /^[\^~<>=|.\d\s*]+(?:-[\w.]+)?$/;

const nameOf = (path: string): string => path.slice(path.lastIndexOf('node_modules/') + 13);

/**
 * All that is wrong with a lock file, a line each: the check that needs no network. Which holes a version is
 * known to have only a registry can say (`npm audit`).
 */
export function problemsOf(lock: Lock, rules: Rules): readonly string[] {
  const version = lock.lockfileVersion === 3 ? [] : [`lock file version ${lock.lockfileVersion}`];
  const each = Object.entries(lock.packages).flatMap(([path, one]) =>
    [...(path === root ? [] : problemsOfPackage(nameOf(path), one, rules)), ...strangers(one)].map(
      (problem) => `${path === root ? 'package.json' : path}: ${problem}`,
    ),
  );
  return [...version, ...each];
}

function problemsOfPackage(name: string, one: LockedPackage, rules: Rules): readonly string[] {
  const problems: string[] = [];
  if (one.link) problems.push('is a link to a folder');
  if (!sha512.test(one.integrity ?? '')) problems.push('no sha512 of its content');
  if (one.resolved !== undefined && !one.resolved.startsWith('https://'))
    problems.push(`comes from ${one.resolved}`);
  if (one.hasInstallScript && !rules.installScripts.includes(name))
    problems.push('has an install script');
  const licence = one.license ?? rules.unstated[name] ?? 'none';
  const allowed = one.dev ? [...rules.licences, ...rules.devLicences] : rules.licences;
  if (!choices(licence).some((choice) => allowed.includes(choice)))
    problems.push(`licence ${licence}`);
  return problems;
}

/** Of `(A OR B)` either will do. */
const choices = (licence: string): string[] => licence.replace(/^\(|\)$/g, '').split(' OR ');

function strangers(one: LockedPackage): readonly string[] {
  return Object.entries({ ...one.dependencies, ...one.devDependencies })
    .filter(([, range]) => !ofRegistry.test(range))
    .map(([name, range]) => `wants ${name} from ${range}`);
}

/** Packages that a source text names, by `from`, `import`, `resolve` or `require`: `fastify` of `fastify/lib/x`. */
export function importedBy(text: string): readonly string[] {
  const asked =
    /(?:\bfrom |\bimport |\bimport\(|\bresolve\(|\brequire\()'((?:@[\w.-]+\/)?[a-z][\w.-]*)['/]/g;
  return [...text.matchAll(asked)].map(([, name = '']) => name);
}
