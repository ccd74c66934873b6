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

export type HostileClientName = keyof typeof CLIENTS

export const HOSTILE_CLIENT_NAMES = Object.keys(CLIENTS) as HostileClientName[]

export function loadHostileClient(name: HostileClientName): Promise<HostileClient> {
  return CLIENTS[name]()
}
