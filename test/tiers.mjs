/** The folders and files of each tier, which `npm test` leaves out. */
export const TIERS = {
  apps: ['test/apps'],
  // With the flows of a sign-in, which a browser goes through, too.
  browser: [
    'test/browser',
    'test/cli/sign-in.test.ts',
    'test/sign-in/redshift.test.ts',
    'test/sign-in/sign-in.test.ts',
    'test/sign-in/tutorial.test.ts',
  ],
  bench: ['test/bench', 'test/soak'],
  contract: ['test/register/contract.test.ts'],
  engines: ['test/gateway/engines'],
  hostile: ['test/hostile', 'test/gateway/hostile'],
  migrations: ['test/migrations/clinic', 'test/migrations/databases', 'test/migrations/features'],
  'mikro-orm': ['test/mikro-orm'],
  tools: ['test/tools'],
  workers: ['test/workers'],
}

/** What each tier runs: of some files `npm test` runs a part, with PostgreSQL only, or the first entry of each client. */
export const FOLDERS = {
  ...TIERS,
  contract: [...TIERS.contract, 'test/adapters', 'test/resilience'],
  engines: [
    ...TIERS.engines,
    'test/gateway/auth/dsql-isolation.test.ts',
    'test/gateway/connection/buffers.test.ts',
    'test/gateway/faults/session-faults.test.ts',
  ],
}
