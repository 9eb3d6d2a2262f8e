/**
 * Who runs a block of commands that a page has: a test that reads the page, or one that tries the same,
 * and why the block itself cannot be what is run.
 */
export type Runner = { readonly by: string; readonly instead?: string } | { readonly not: string };

const onHosts = 'systemd of a real host is asked; the package’s own hosts are set up by the test';

/** Page, the line that a block begins with, and its runner. */
export const runners: readonly (readonly [page: string, line: string, runner: Runner])[] = [
  ['README.md', 'npx understudy validate', { by: 'test/faults/readme.test.ts' }],
  ['docs/quick-start.md', '', { by: 'test/soak/quick-start/steps.ts' }],
  [
    'docs/install.md',
    'npm run setup\nnpm run package',
    { by: 'test/units/files.test.ts', instead: 'it makes the package twice, by scripts/package' },
  ],
  [
    'docs/install.md',
    'apt-get install ./understudy',
    { by: 'test/units/package.ts', instead: 'into hosts of its own' },
  ],
  [
    'docs/install.md',
    'npm run setup\nDESTDIR',
    { by: 'test/units/install.ts', instead: 'below a folder of its own, not below /' },
  ],
  [
    'docs/install.md',
    'install -d',
    { by: 'test/soak/quick-start/steps.ts', instead: 'docs/quick-start.md has the same line' },
  ],
  [
    'docs/install.md',
    'systemctl enable --now understudy-agent',
    { by: 'test/units/package.ts', instead: onHosts },
  ],
  [
    'docs/install.md',
    'systemctl enable --now understudy-target',
    { by: 'test/units/site.ts', instead: onHosts },
  ],
  ['docs/install.md', 'understudy validate', { by: 'test/faults/pages.test.ts' }],
  [
    'docs/install.md',
    'understudy pulse-restart',
    { by: 'test/units/systemd.test.ts', instead: onHosts },
  ],
  ['docs/operations.md', 'understudy status', { by: 'test/faults/pages.test.ts' }],
  ['docs/operations.md', 'understudy failovers', { by: 'test/faults/pages.test.ts' }],
  ['docs/operations.md', 'understudy drain', { by: 'test/faults/pages.test.ts' }],
  [
    'docs/operations.md',
    'understudy pulse-restart',
    { by: 'test/units/systemd.test.ts', instead: onHosts },
  ],
  ['docs/operations.md', '(umask 077', { by: 'test/faults/key-rotation.test.ts' }],
  ['docs/operations.md', 'understudy export', { by: 'test/faults/pages.test.ts' }],
  ['docs/operations.md', 'understudy import keepalived', { by: 'test/faults/pages.test.ts' }],
  ['docs/operations.md', 'ssh', { not: 'it asks another machine for a shell' }],
  [
    'docs/reference/cli.md',
    'understudy reservation',
    {
      by: 'test/storage/reservation-clear.test.ts',
      instead: 'it takes a target with persistent reservations',
    },
  ],
  [
    'docs/reference/cli.md',
    'source <(',
    { by: 'test/cli/completion.test.ts', instead: 'each shell that is here, in turn' },
  ],
  ['docs/reference/http-api.md', 'understudy token', { by: 'test/faults/pages.test.ts' }],
  [
    'docs/reference/storage.md',
    'echo 0',
    { by: 'test/uml/lio.ts', instead: 'in a guest whose kernel has LIO, by its own name there' },
  ],
  [
    'docs/targets.md',
    'truncate -s 1G /srv/luns/web1-data\ntargetcli',
    { by: 'test/uml/lio-recipe.ts' },
  ],
  ['docs/targets.md', 'targetcli', { by: 'test/uml/lio-recipe.ts' }],
  [
    'docs/targets.md',
    'truncate -s 1G /srv/luns/web1-data',
    { by: 'test/storage/tgt-recipe.test.ts' },
  ],
  ['docs/targets.md', 'tgtadm', { by: 'test/storage/tgt-recipe.test.ts' }],
  [
    'docs/targets.md',
    'systemctl enable --now understudy-target',
    { by: 'test/units/site.ts', instead: onHosts },
  ],
  ['docs/vm-lab.md', 'npm run test:vm', { not: 'it runs tests of its own, on virtual machines' }],
  [
    'docs/vm-lab.md',
    'npm run demo',
    { not: 'it is a demonstration on virtual machines, of minutes' },
  ],
];

export function runnerOf(page: string, lines: readonly string[]): Runner | undefined {
  const text = lines.join('\n');
  return runners.find(([of, line]) => of === page && text.startsWith(line))?.[2];
}
