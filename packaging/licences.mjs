/**
 * Prints each npm package below node_modules with its licence and the text of that, and takes the
 * licences' own files away: Debian has them in one place. `node licences.mjs NODE_MODULES`
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const licence = /^(licen[cs]e|copying|notice)([.-].*)?$/i;

/** Folders of packages below a node_modules, also of those that are nested. */
function packages(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => {
      const path = join(folder, name);
      if (name.startsWith('@')) return packages(path);
      const below = readdirSync(path).includes('node_modules')
        ? packages(join(path, 'node_modules'))
        : [];
      return [path, ...below];
    })
    .sort();
}

for (const path of packages(process.argv[2])) {
  const { name, version, license, licenses } = JSON.parse(readFileSync(join(path, 'package.json')));
  const named = license ?? licenses?.map(({ type }) => type).join(', ') ?? 'as follows';
  console.log(`\n${'-'.repeat(72)}\n${name} ${version}: ${named.type ?? named}`);
  for (const file of readdirSync(path).filter((one) => licence.test(one)).sort()) {
    const text = readFileSync(join(path, file), 'utf8').replaceAll('\r', '').trimEnd();
    const apache = /Apache License\s+Version 2\.0, January 2004/.test(text);
    console.log(apache ? '\nSee /usr/share/common-licenses/Apache-2.0.' : `\n${text}`);
    rmSync(join(path, file));
  }
}
