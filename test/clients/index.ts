/** All clients. Each is loaded on demand, so that a process loads only one. */
import type { Client } from './client.js'

const CLIENTS = {
  sequelize: () => import('./sequelize.js'),
  'sequelize-7': () => import('./sequelize-7.js'),
  typeorm: () => import('./typeorm.js'),
  knex: () => import('./knex.js'),
  prisma: () => import('./prisma.js'),
  drizzle: () => import('./drizzle.js'),
  'drizzle-postgres-js': () => import('./drizzle-postgres-js.js'),
  pg: () => import('./pg.js'),
  'postgres-js': () => import('./postgres-js.js'),
} as const satisfies Record<string, () => Promise<{ client: Client }>>

export type ClientName = keyof typeof CLIENTS

export const CLIENT_NAMES = Object.keys(CLIENTS) as ClientName[]

export function isClientName(name: string): name is ClientName {
  return Object.hasOwn(CLIENTS, name)
}

/** Throws for an unknown name, such as that of a client which a test has just added. */
export async function loadClient(name: string): Promise<Client> {
  if (!isClientName(name)) throw new Error(`there is no client "${name}"`)
  return (await CLIENTS[name]()).client
}
