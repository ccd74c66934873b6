/** `npm run bench:tokens`: the time of one token, and how often the queries of a pool request credentials. */
import { DsqlSigner } from '@aws-sdk/dsql-signer'
import { Signer as RdsSigner } from '@aws-sdk/rds-signer'
import {
  average,
  credentials,
  DSQL_HOST,
  RDS_HOST,
  REGION,
  signersOf,
  type Benchmark,
  type BenchContext,
} from './benchmark.js'
import { QUERY } from './clients.js'
import { dsqlPools } from './queries.js'
import { competitor, type Competitor } from './rounds.js'

export const tokens: Benchmark = async (context) => {
  await signedTokens(context)
  await askedCredentials(context)
}

const FULL = { times: 500, effort: { rounds: 31, warmUpRounds: 5 } }
const QUICK = { times: 50, effort: { rounds: 9, warmUpRounds: 3 } }

async function signedTokens({ isQuick, build, measure }: BenchContext): Promise<void> {
  const { times, effort } = isQuick ? QUICK : FULL
  const { auroraDsql, rds } = await build('core')
  const signers = await signersOf(build)
  const maker = (name: string, make: () => Promise<unknown>): Competitor =>
    competitor(name, async () => {
      const startedAt = performance.now()
      for (let made = 0; made < times; made++) await make()
      return average(startedAt, times) * 1_000
    })
  const own = { region: REGION, credentials }
  const dsqlSigner = new DsqlSigner({ hostname: DSQL_HOST, expiresIn: 900, ...own })
  const rdsSigner = new RdsSigner({ hostname: RDS_HOST, port: 5432, username: 'app', ...own })
  const place = { user: 'app', credentials }
  const contests = {
    'a token for Aurora DSQL': [
      maker("AWS's signer", () => dsqlSigner.getDbConnectAuthToken()),
      ...signers.map(({ name, options }) => {
        const login = auroraDsql({ host: DSQL_HOST, ...place, ...options })
        return maker(name, () => login.token())
      }),
    ],
    'a token for RDS': [
      maker("AWS's signer", () => rdsSigner.getAuthToken()),
      ...signers.map(({ name, options }) => {
        const login = rds({ host: RDS_HOST, ...place, reuseTokenSecs: 0, ...options })
        return maker(name, () => login.token())
      }),
    ],
  }
  for (const [what, [baseline, ...others]] of Object.entries(contests))
    await measure({ what, unit: 'µs', baseline: baseline!, others }, effort)
}

/** Each call creates a token. */
async function askedCredentials({ isQuick, build, measure, ...context }: BenchContext) {
  const [connections, queries] = [5, isQuick ? 50 : 1_000]
  const postgres = await context.postgres()
  let calls = 0
  const counted = dsqlPools(postgres, build, connections, async () => {
    calls++
    return credentials()
  })
  const caller = (name: string, open: (typeof counted)[keyof typeof counted]): Competitor =>
    competitor(name, async () => {
      calls = 0
      const pool = await open()
      let left = queries
      const work = async (): Promise<void> => {
        while (left-- > 0) await pool.run(QUERY)
      }
      await Promise.all(Array.from({ length: connections }, work))
      await pool.close()
      return calls
    })
  await measure(
    {
      what: `${queries.toLocaleString('en-GB')} queries on ${connections} connections`,
      unit: 'calls for credentials',
      baseline: caller("AWS's connector", counted.connector),
      others: [caller('pg-iam', counted.ours)],
    },
    // The number is the same each time.
    { rounds: 1 },
  )
}
