import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'tap';
import { root } from './cli/run.js';
import {
  importedBy,
  type Lock,
  type LockedPackage,
  problemsOf,
  type Rules,
} from './dependencies.js';

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8');
const lock = JSON.parse(read('package-lock.json')) as Lock;
const manifest = JSON.parse(read('package.json')) as Manifest;

const rules: Rules = {
  licences: ['Apache-2.0', 'MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', 'BlueOak-1.0.0'],
  devLicences: ['MPL-2.0', 'CC-BY-3.0', 'CC0-1.0'],
  unstated: { 'jsonc-simple-parser': 'MIT' },
  // koffi's looks for its binary, which is a package of its own; protobufjs's warns of a version range.
  installScripts: ['koffi', 'protobufjs'],
};

test('every package is pinned by its content, comes from the registry and may be used', (t) => {
  t.strictSame(problemsOf(lock, rules), []);
  const { '': project } = lock.packages;
  t.strictSame(project?.dependencies, manifest.dependencies, 'the lock is package.json’s');
  t.strictSame(project?.devDependencies, manifest.devDependencies);
  t.end();
});

test('what is installed is what is locked, byte for byte', (t) => {
  const installed = JSON.parse(read('node_modules/.package-lock.json')) as Lock;
  for (const [path, { version, integrity }] of Object.entries(installed.packages)) {
    const wanted = lock.packages[path];
    t.strictSame([version, integrity], [wanted?.version, wanted?.integrity], path);
  }
  t.end();
});

function sources(...folders: readonly string[]): string[] {
  return folders.flatMap((folder) =>
    readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(?:ts|mjs|js)$/.test(name))
      .map((name) => read(`${folder}/${name}`)),
  );
}

test('the product imports what is in dependencies and no other, and all of it', (t) => {
  const imported = new Set(sources('src').flatMap(importedBy));
  t.strictSame([...imported].sort(), Object.keys(manifest.dependencies).sort());
  t.end();
});

test('what is in devDependencies is used', (t) => {
  const imported = new Set(sources('test', 'bench').flatMap(importedBy));
  /** Used by their commands, and by the compiler. */
  const commands: Readonly<Record<string, RegExp>> = {
    '@biomejs/biome': /\bbiome check\b/,
    '@types/node': /"types": \["node"\]/,
    typescript: /\bnpx tsc\b/,
  };
  const texts = ['package.json', 'tsconfig.json', 'scripts/build'].map(read).join('\n');
  for (const name of Object.keys(manifest.devDependencies))
    t.ok(imported.has(name) || commands[name]?.test(texts), name);
  t.end();
});

const good: LockedPackage = {
  version: '1.0.0',
  integrity: `sha512-${'A'.repeat(86)}==`,
  license: 'MIT',
};

test('what is wrong with a lock is seen', (t) => {
  const cases: readonly (readonly [Partial<LockedPackage>, RegExp | undefined])[] = [
    [{}, undefined],
    [{ integrity: undefined }, /no sha512/],
    [{ integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' }, /no sha512/],
    [{ resolved: 'git+ssh://git@example.com/a.git#1' }, /comes from git/],
    [{ resolved: 'http://example.com/a.tgz' }, /comes from http:/],
    [{ link: true }, /is a link/],
    [{ hasInstallScript: true }, /install script/],
    [{ license: undefined }, /licence none/],
    [{ license: 'GPL-3.0' }, /licence GPL-3.0/],
    [{ license: '(GPL-3.0 OR MIT)' }, undefined],
    [{ license: 'MPL-2.0' }, /licence MPL-2.0/],
    [{ license: 'MPL-2.0', dev: true }, undefined],
    [{ dependencies: { b: '^1.0.0 || ~2.1' } }, undefined],
    [{ dependencies: { b: 'github:somebody/b' } }, /wants b from github/],
    [{ dependencies: { b: 'file:../b' } }, /wants b from file/],
    [{ dependencies: { b: 'npm:c@1.0.0' } }, /wants b from npm/],
    [{ dependencies: { b: 'https://example.com/b.tgz' } }, /wants b from https/],
    [{ dependencies: { b: 'latest' } }, /wants b from latest/],
  ];
  for (const [change, wanted] of cases) {
    const packages = { 'node_modules/x/node_modules/@a/a': { ...good, ...change } };
    const problems = problemsOf({ lockfileVersion: 3, packages }, rules);
    const what = JSON.stringify(change);
    if (wanted === undefined) t.strictSame(problems, [], what);
    else t.match(problems, [wanted], what);
  }
  t.match(problemsOf({ lockfileVersion: 2, packages: {} }, rules), [/version 2/]);
  const project = { '': { dependencies: { a: 'file:a' } } };
  t.match(problemsOf({ lockfileVersion: 3, packages: project }, rules), [/^package.json: wants a/]);
  t.end();
});

test('names of packages are found in a source', (t) => {
  const text = `import a from 'a-b/x.js'; import '@c/d'; await import('e'); import fs from 'node:fs';
    createRequire(import.meta.url).resolve('f/package.json'); import { g } from './g.js';`;
  t.strictSame(importedBy(text), ['a-b', '@c/d', 'e', 'f']);
  t.end();
});
