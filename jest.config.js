import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { memoryFolder } from './test/support/memory-folder.mjs'
import { TIERS } from './test/tiers.mjs'

/** MikroORM and Kysely 0.29 have no version for Node 20, and are ESM only. */
const NEEDS_NODE_22 =
  process.env.PG_IAM_TIER === 'mikro-orm' || process.env.PG_IAM_PEERS?.endsWith('node-22')

/** Packages that are ESM only, or load one with `import()`: Jest runs CommonJS, so it has to transform them. */
const ESM_PACKAGES = `(jose|openid-client|oauth4webapi|gaxios|node-fetch|fetch-blob|data-uri-to-buffer|formdata-polyfill${
  NEEDS_NODE_22 ? '|@mikro-orm/[^/]+|kysely' : ''
})`
const COMMONJS = { type: 'commonjs' }

/** Tests that are tiers of their own: `test/tier.mjs` runs one of them, `npm test` none. */
const LEFT_OUT = Object.entries(TIERS).flatMap(([tier, folders]) =>
  tier === process.env.PG_IAM_TIER
    ? []
    : folders.map((place) => `<rootDir>/${place.endsWith('.ts') ? place : `${place}/`}`),
)

/** Where it is by default, but for what follows. */
const CACHE = join(tmpdir(), `jest-${process.getuid?.() ?? ''}`)
// The workers inherit it.
const IN_MEMORY = process.env.TMPDIR === undefined ? memoryFolder() : undefined
if (IN_MEMORY !== undefined) process.env.TMPDIR = IN_MEMORY

/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  cacheDirectory: CACHE,
  // Coverage counts only files below `roots`, so the sources are among them.
  roots: [
    'wire',
    'core',
    'adapters',
    'dsql',
    'migrations',
    'gateway',
    'cli',
    'register',
    'sign-in',
    'test',
  ].map((folder) => `<rootDir>/${folder}`),
  testMatch: ['**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/', ...LEFT_OUT],
  setupFiles: ['<rootDir>/test/support/exit-with-parent.ts'],
  moduleFileExtensions: ['ts', 'js', 'cts', 'cjs', 'json', 'node'],
  moduleNameMapper: {
    // A worker thread cannot run TypeScript: its file comes from the build, which `npm test` makes first. It takes PGlite from where it is.
    '^\\./worker-file\\.cjs$': `${process.env.PG_IAM_PEERS ?? '<rootDir>'}/dist/cjs/gateway/engines/pglite/worker-file.cjs`,
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  transform: {
    '^.+\\.c?ts$': [
      '@swc/jest',
      {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: COMMONJS,
      },
    ],
    [`/node_modules/${ESM_PACKAGES}/.+\\.js$`]: [
      '@swc/jest',
      { jsc: { target: 'es2022' }, module: COMMONJS },
    ],
  },
  transformIgnorePatterns: [`/node_modules/(?!${ESM_PACKAGES}/)`],
  reporters: ['default', '<rootDir>/test/support/reporter.cjs'],
  // Ends what hangs. It is no measure of speed: a loaded machine takes a minute for what else takes two seconds.
  testTimeout: 300_000,
  // Tests wait for lifetimes, time limits and other processes. Three workers for each core keep the cores busy.
  maxWorkers: Math.min(3 * availableParallelism(), 8),
  collectCoverageFrom: [
    '{core,adapters,dsql,migrations,gateway,cli,register,sign-in}/**/*.ts',
    '!**/index.ts',
  ],
  restoreMocks: true,
}
