/** The clients of the hostile tests, each in a separate file, so that a process loads only one of them. */
import type { HostileClient } from './hostile-client.js'

const CLIENTS = {
  pg: async () => (await import('./pg.js')).pool,
  'pg-client': async () => (await import('./pg.js')).client,
  knex: async () => (await import('./knex.js')).client,
  sequelize: async () => (await import('./sequelize.js')).client,
  'sequelize-7': async () => (await import('./sequelize-7.js')).client,
  typeorm: async () => (await import('./typeorm.js')).client,
  kysely: async () => (await import('./kysely.js')).client,
  prisma: async () => (await import('./prisma.js')).client,
  drizzle: async () => (await import('./drizzle.js')).client,
  'postgres-js': async () => (await import('./postgres-js.js')).client,
  'drizzle-postgres-js': async () => (await import('./drizzle-postgres-js.js')).client,
} as const satisfies Record<string, () => Promise<HostileClient>>

/** Clients that not every supported version of Node can run. They run by name only: their packages may be missing. */
const OTHERS = { 'mikro-orm': '../../mikro-orm/hostile-client.js' } as const

export type HostileClientName = keyof typeof CLIENTS | keyof typeof OTHERS

export const HOSTILE_CLIENT_NAMES = Object.keys(CLIENTS) as HostileClientName[]

export const OTHER_HOSTILE_CLIENT_NAMES = Object.keys(OTHERS) as HostileClientName[]

export async function loadHostileClient(name: HostileClientName): Promise<HostileClient> {
  if (name in CLIENTS) return CLIENTS[name as keyof typeof CLIENTS]()
  // The compiler must not look for it.
  const file: string = OTHERS[name as keyof typeof OTHERS]
  return ((await import(file)) as { client: HostileClient }).client
}
