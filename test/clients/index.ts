/** All clients. Each is loaded on demand, so that a process loads only one. */
import type { Client } from './client.js'

const CLIENTS = {
  sequelize: () => import('./sequelize.js'),
  'sequelize-7': () => import('./sequelize-7.js'),
  typeorm: () => import('./typeorm.js'),
  knex: () => import('./knex.js'),
  kysely: () => import('./kysely.js'),
  prisma: () => import('./prisma.js'),
  drizzle: () => import('./drizzle.js'),
  'drizzle-postgres-js': () => import('./drizzle-postgres-js.js'),
  pg: () => import('./pg.js'),
  'postgres-js': () => import('./postgres-js.js'),
  'postgres-js-websocket': () => import('./postgres-js-websocket.js'),
} as const satisfies Record<string, () => Promise<{ client: Client }>>

/** Clients that not every supported version of Node can run. They are tested by name only: their packages may be missing. */
const OTHERS: Readonly<Record<string, string>> = { 'mikro-orm': '../mikro-orm/client.js' }

export type ClientName = keyof typeof CLIENTS

export const CLIENT_NAMES = Object.keys(CLIENTS) as ClientName[]

export function isClientName(name: string): name is ClientName {
  return Object.hasOwn(CLIENTS, name)
}

/** Throws for an unknown name, such as that of a client which a test has just added. */
export async function loadClient(name: string): Promise<Client> {
  const other = Object.hasOwn(OTHERS, name) ? OTHERS[name] : undefined
  // The compiler must not look for it.
  if (other !== undefined) return ((await import(other)) as { client: Client }).client
  if (!isClientName(name)) throw new Error(`there is no client "${name}"`)
  return (await CLIENTS[name]()).client
}
