/** The clients that take part. */
import type { ResilientClient } from '../../test/resilience/clients/resilient-client.js'

export type ClientName = keyof typeof CLIENTS

/** Each in a file of its own, so that a process holds one client and not all of them. */
const CLIENTS = {
  sequelize: () => import('../../test/resilience/clients/sequelize.js'),
  typeorm: () => import('../../test/resilience/clients/typeorm.js'),
  knex: () => import('../../test/resilience/clients/knex.js'),
  drizzle: () => import('../../test/resilience/clients/drizzle.js'),
  'drizzle-postgres-js': () => import('../../test/resilience/clients/drizzle-postgres-js.js'),
  pg: () => import('../../test/resilience/clients/pg.js'),
  'postgres-js': () => import('../../test/resilience/clients/postgres-js.js'),
} as const satisfies Record<string, () => Promise<{ client: ResilientClient }>>

export const CLIENT_NAMES = Object.keys(CLIENTS) as ClientName[]

export function isClientName(name: string): name is ClientName {
  return Object.hasOwn(CLIENTS, name)
}

export async function loadClient(name: ClientName): Promise<ResilientClient> {
  return (await CLIENTS[name]()).client
}
