/** Opens connections with pg, and says how long that took. */
import { Client } from 'pg'
import type { Way } from './stage.js'

export type OpenAll = (clients: readonly Client[]) => Promise<void>

export const oneByOne: OpenAll = async (clients) => {
  for (const client of clients) await client.connect()
}

export const atOnce: OpenAll = async (clients) => {
  await Promise.all(clients.map((client) => client.connect()))
}

/**
 * Resolves with the milliseconds until all of them were ready for a query, divided by their number. The token is signed before, and
 * all are closed when it resolves.
 */
export async function millisecondsEach(
  openAll: OpenAll,
  connections: number,
  { address, password }: Way,
): Promise<number> {
  const config = { ...address, password: await password() }
  const clients = Array.from({ length: connections }, () => new Client(config))
  try {
    const startedAt = performance.now()
    await openAll(clients)
    return (performance.now() - startedAt) / connections
  } finally {
    await Promise.all(clients.map((client) => client.end()))
  }
}
