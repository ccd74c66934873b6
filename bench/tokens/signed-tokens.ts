/** The time of one token, by pg-iam with each of its signers, and by AWS's signer alone. */
import { DsqlSigner } from '@aws-sdk/dsql-signer'
import { Signer } from '@aws-sdk/rds-signer'
import { auroraDsql, rds } from '../../core/index.js'
import type { BenchContext, Comparison, ComparisonSection } from '../frame/benchmark.js'
import { compare, controlName, type Effort } from '../frame/compare.js'
import type { Competitor } from '../frame/rounds.js'
import { CREDENTIALS } from '../frame/surroundings.js'

export async function signedTokens(context: BenchContext): Promise<ComparisonSection> {
  const { tokens, effort } = context.isQuick ? QUICK : FULL
  const comparisons: Comparison[] = []
  for (const { name, reused, fresh, ours, builtIn } of [auroraDsqlTokens(), rdsTokens()]) {
    context.progress(name)
    const competitor = (called: string, make: MakeToken): Competitor => ({
      name: called,
      sample: () => microsecondsFor(make, tokens),
    })
    const baseline = 'signer, reused'
    const contest = {
      name,
      baseline: competitor(baseline, reused),
      control: competitor(controlName(baseline), reused),
      others: [
        competitor('signer, new for each', fresh),
        competitor('pg-iam', ours),
        competitor('pg-iam, built-in signer', builtIn),
      ],
    }
    comparisons.push(await compare(contest, effort, context))
  }
  return {
    kind: 'comparison',
    name: 'signed',
    title: 'One token',
    notes: [
      'The signer is that of the AWS SDK, which pg-iam signs with by default, too. All get their credentials from a function that answers',
      'at once; no token is reused.',
    ],
    unit: 'µs',
    better: 'less',
    comparisons,
  }
}

interface TokenLoad {
  /** In each sample, one after another. */
  readonly tokens: number
  readonly effort: Effort
}

const FULL: TokenLoad = { tokens: 500, effort: { rounds: 61, warmUpRounds: 8 } }
const QUICK: TokenLoad = { tokens: 20, effort: { rounds: 3, warmUpRounds: 1 } }

type MakeToken = () => Promise<unknown>

interface TokenMakers {
  readonly name: string
  readonly reused: MakeToken
  readonly fresh: MakeToken
  readonly ours: MakeToken
  readonly builtIn: MakeToken
}

const REGION = 'us-east-1'
const USER = 'app'
const credentials = async (): Promise<typeof CREDENTIALS> => CREDENTIALS

function auroraDsqlTokens(): TokenMakers {
  const host = `${'bench'.repeat(5)}x.dsql.${REGION}.on.aws`
  const settings = { hostname: host, region: REGION, expiresIn: 900, credentials }
  const signer = new DsqlSigner(settings)
  const options = { host, user: USER, credentials }
  const [login, builtIn] = [auroraDsql(options), auroraDsql({ ...options, signer: 'built-in' })]
  return {
    name: 'Aurora DSQL',
    reused: () => signer.getDbConnectAuthToken(),
    fresh: () => new DsqlSigner(settings).getDbConnectAuthToken(),
    ours: () => login.token(),
    builtIn: () => builtIn.token(),
  }
}

function rdsTokens(): TokenMakers {
  const host = `shop.abcdefghijkl.${REGION}.rds.amazonaws.com`
  const settings = { hostname: host, port: 5432, username: USER, region: REGION, credentials }
  const signer = new Signer(settings)
  const options = { host, user: USER, credentials, reuseTokenSecs: 0 }
  const [login, builtIn] = [rds(options), rds({ ...options, signer: 'built-in' })]
  return {
    name: 'RDS',
    reused: () => signer.getAuthToken(),
    fresh: () => new Signer(settings).getAuthToken(),
    ours: () => login.token(),
    builtIn: () => builtIn.token(),
  }
}

async function microsecondsFor(make: MakeToken, tokens: number): Promise<number> {
  const startedAt = performance.now()
  for (let made = 0; made < tokens; made++) await make()
  return ((performance.now() - startedAt) * 1_000) / tokens
}
