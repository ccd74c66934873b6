/** Occupies all connections of a pool. */
import type { OpenClient } from '../clients/client.js'
import { eventually } from '../support/eventually.js'

/** Holds that many connections in a transaction at the same time. */
export async function occupy(client: OpenClient, connections: number): Promise<void> {
  let arrived = 0
  await Promise.all(
    Array.from({ length: connections }, () =>
      client.transaction(async (statements) => {
        await statements.run('SELECT 1')
        arrived++
        await eventually('all connections to be in use', () => arrived === connections)
      }),
    ),
  )
}
