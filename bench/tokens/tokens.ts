/** `npm run bench:tokens`. */
import type { Benchmark } from '../frame/benchmark.js'
import { startTlsPostgres } from '../postgres/tls-postgres.js'
import { signedTokens } from './signed-tokens.js'
import { tokenCounts } from './token-counts.js'

export const tokens: Benchmark = {
  name: 'tokens',
  what: 'tokens and credentials that queries cost, and the time of a token',
  async run(context) {
    const postgres = await startTlsPostgres(context)
    try {
      return [await tokenCounts(postgres, context), await signedTokens(context)]
    } finally {
      await postgres.close()
    }
  },
}
