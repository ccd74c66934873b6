/** `npm run bench:memory`. */
import { askProcess } from '../common/process/start-process.js'
import type { Benchmark, BenchContext, CurveSection } from '../frame/benchmark.js'
import { startTlsPostgres } from '../postgres/tls-postgres.js'
import {
  CONNECTION_CLIENTS,
  TOKEN_KINDS,
  type GrowthEffort,
  type GrowthOrder,
  type MemorySample,
} from './growth.js'
import { growthSections, type Grown } from './growth-sections.js'

export const memory: Benchmark = {
  name: 'memory',
  what: 'what the memory of a process grows by with tokens and with connections',
  async run(context) {
    const effort = context.isQuick ? QUICK : FULL
    return [
      ...(await tokenGrowth(effort.tokens, context)),
      ...(await connectionGrowth(effort.connections, context)),
    ]
  },
}

const FULL: Record<'tokens' | 'connections', GrowthEffort> = {
  tokens: { warmUp: 20_000, amount: 100_000, samples: 25 },
  connections: { warmUp: 1_000, amount: 10_000, samples: 25 },
}
const QUICK: Record<'tokens' | 'connections', GrowthEffort> = {
  tokens: { warmUp: 20, amount: 100, samples: 5 },
  connections: { warmUp: 20, amount: 100, samples: 5 },
}

async function tokenGrowth(
  effort: GrowthEffort,
  { progress }: BenchContext,
): Promise<CurveSection[]> {
  progress(`tokens, ${TOKEN_KINDS.join('; ')}`)
  // No time is measured, so all may run at once.
  const grown = await Promise.all(
    TOKEN_KINDS.map(async (tokens): Promise<Grown> => {
      const samples = await growth({ work: { kind: 'tokens', tokens }, effort })
      return { name: tokens, samples, ...(tokens === OURS ? { against: SIGNER } : {}) }
    }),
  )
  return growthSections('tokens', grown, [
    'Each kind in a process of its own, which makes one token after another from one login, with credentials from a function that',
    'answers at once; no token is reused.',
  ])
}

const [OURS, SIGNER] = TOKEN_KINDS

async function connectionGrowth(
  effort: GrowthEffort,
  context: BenchContext,
): Promise<CurveSection[]> {
  const postgres = await startTlsPostgres(context)
  try {
    const server = postgres.staticLogin(postgres.passwordRole)
    const grown: Grown[] = []
    for (const client of CONNECTION_CLIENTS) {
      context.progress(`connections, ${client}`)
      const measure = (login: 'static password' | 'pg-iam'): Promise<readonly MemorySample[]> =>
        growth({ work: { kind: 'connections', client, login, server }, effort })
      // No time is measured, so both may run at once.
      const [ofStatic, ours] = await Promise.all([measure('static password'), measure('pg-iam')])
      const reference = `${client}, static password`
      grown.push({ name: `${client}, pg-iam`, against: reference, samples: ours })
      grown.push({ name: reference, samples: ofStatic })
    }
    return growthSections('connections', grown, [
      'Each in a process of its own, which opens up to 20 connections at a time, runs a query on each and closes them, over verified',
      'TLS and with a password that PostgreSQL checks; the token of pg-iam is that password. Of pg it is one pool all along, whose',
      'connections are for one use; Postgres.js closes them with the whole instance, so each 20 have a new one. There is one login.',
    ])
  } finally {
    await postgres.close()
  }
}

function growth(order: GrowthOrder): Promise<readonly MemorySample[]> {
  return askProcess(new URL('child/main.js', import.meta.url), order, ['--expose-gc'])
}
