/** A process that does one kind of work again and again, and looks at its memory meanwhile; it runs with `--expose-gc`. */
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { getHeapSpaceStatistics } from 'node:v8'
import { DsqlSigner } from '@aws-sdk/dsql-signer'
import { Pool } from 'pg'
import postgres, { type Sql } from 'postgres'
import { buildIn, credentials, DSQL_HOST, ourOptions, REGION } from './benchmark.js'
import type { StaticLogin } from './postgres.js'
import { answerOrder } from './process.js'

export interface GrowthOrder {
  readonly work: Work
  readonly effort: GrowthEffort
}

export interface GrowthEffort {
  /** How often the work is done before the first sample. */
  readonly warmUp: number
  /** How often from the first sample to the last. */
  readonly amount: number
  /** Samples behind the first. Divides `amount`. */
  readonly samples: number
}

export type Work =
  | {
      readonly kind: 'tokens'
      readonly of: 'AWS signer' | 'Aurora DSQL'
      readonly options?: object
    }
  | {
      readonly kind: 'connections'
      readonly client: 'pg' | 'postgres-js'
      /** Whether the password is static, or the token of a login of pg-iam. */
      readonly login: 'static password' | 'pg-iam'
      readonly server: StaticLogin
    }

export interface MemorySample {
  /** How often the work was done before it. */
  readonly done: number
  /** What objects hold, on V8's heap and outside of it. Compiled code is not in it. */
  readonly bytes: number
}

const build = buildIn('dist')
const QUERY = 'SELECT 1 AS one'

answerOrder(async ({ work, effort }: GrowthOrder): Promise<MemorySample[]> => {
  const run = work.kind === 'tokens' ? await tokenMaker(work) : await connectionOpener(work)
  await run(effort.warmUp)
  const samples = [{ done: 0, bytes: await heldBytes() }]
  const between = effort.amount / effort.samples
  for (let sample = 1; sample <= effort.samples; sample++) {
    await run(between)
    samples.push({ done: sample * between, bytes: await heldBytes() })
  }
  return samples
})

/** Does the work so often. When it resolves nothing is under way any more. */
type Run = (times: number) => Promise<void>

/** One token after another from one login; no token is reused. */
async function tokenMaker({ of, options }: Extract<Work, { kind: 'tokens' }>): Promise<Run> {
  const { auroraDsql } = await build('core')
  const signer = new DsqlSigner({ hostname: DSQL_HOST, region: REGION, credentials })
  const login = auroraDsql({ host: DSQL_HOST, user: 'app', credentials, ...options })
  return async (times) => {
    for (let made = 0; made < times; made++)
      await (of === 'AWS signer' ? signer.getDbConnectAuthToken() : login.token())
  }
}

/** At the most so many connections are open at a time. */
const BATCH = 20

/** Pools that are opened, used for a query on each connection and closed; the login is one. */
async function connectionOpener({ client, login: whose, server }: Connections): Promise<Run> {
  const { customLogin } = await build('core')
  const login = customLogin({ ...ourOptions(server), getToken: () => server.password })
  const { createPool } = await build('pg')
  const { createSql } = await build('postgres-js')
  const ofPg = async (max: number): Promise<void> => {
    const pool = whose === 'pg-iam' ? createPool(login, { max }) : new Pool({ ...server, max })
    await Promise.all(Array.from({ length: max }, () => pool.query(QUERY)))
    await pool.end()
  }
  const ofPostgresJs = async (max: number): Promise<void> => {
    const sql = (
      whose === 'pg-iam'
        ? createSql(login, { max })
        : postgres({ ...server, ssl: { ...server.ssl }, max })
    ) as Sql
    await Promise.all(Array.from({ length: max }, () => sql.unsafe(QUERY)))
    await sql.end()
  }
  const openAndClose = client === 'pg' ? ofPg : ofPostgresJs
  return async (times) => {
    for (let left = times; left > 0; left -= BATCH) await openAndClose(Math.min(left, BATCH))
    // A pool sends Terminate a moment before its sockets are closed.
    while (
      process.getActiveResourcesInfo().some((handle) => /^(?:TCPSocket|TLS)Wrap$/.test(handle))
    )
      await delay(POLL_MS)
  }
}

type Connections = Extract<Work, { kind: 'connections' }>

const POLL_MS = 5

/** Collects the garbage first. What weak references lead to is freed in a later turn. */
async function heldBytes(): Promise<number> {
  for (let round = 0; round < 4; round++) {
    global.gc!()
    await turn()
  }
  let bytes = process.memoryUsage().external
  for (const { space_name: name, space_used_size: used } of getHeapSpaceStatistics())
    if (!CODE_SPACES.test(name)) bytes += used
  return bytes
}

/** V8 keeps machine code apart, and from Node 22 on what belongs to it, too. */
const CODE_SPACES = /^(?:code|trusted|shared_trusted)_/
