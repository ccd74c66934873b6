/** `npm run bench:queries`. */
import type { Benchmark } from '../frame/benchmark.js'
import { startTlsPostgres } from '../postgres/tls-postgres.js'
import { queriesAgainstConnector } from './against-connector.js'
import { queriesThroughAdapters } from './through-adapters.js'

export const queries: Benchmark = {
  name: 'queries',
  what: 'queries a second through each pool',
  async run(context) {
    const postgres = await startTlsPostgres(context)
    try {
      return [
        await queriesThroughAdapters(postgres, context),
        await queriesAgainstConnector(postgres, context),
      ]
    } finally {
      await postgres.close()
    }
  },
}
