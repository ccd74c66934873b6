/** The folders of each tier, which `npm test` leaves out; `contract` is a part of it, run in more places. */
export const TIERS = {
  apps: ['test/apps'],
  browser: ['test/browser'],
  bench: ['test/bench', 'test/soak'],
  engines: ['test/gateway/engines'],
  hostile: ['test/hostile', 'test/gateway/hostile'],
  migrations: ['test/migrations/clinic', 'test/migrations/databases', 'test/migrations/features'],
  'mikro-orm': ['test/mikro-orm'],
  tools: ['test/tools'],
  workers: ['test/workers'],
}

export const FOLDERS = { ...TIERS, contract: ['test/adapters', 'test/register/contract.test.ts'] }
