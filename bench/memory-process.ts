/** A process that repeats one kind of work and samples its memory. It runs with `--expose-gc`. */
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
  /** The number of repetitions before the first sample. */
  readonly warmUp: number
  /** The number of repetitions from the first sample to the last. */
  readonly amount: number
  /** The number of samples after the first. It divides `amount`. */
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
      /** Whether the password is static, or the token of a pg-iam login. */
      readonly login: 'static password' | 'pg-iam'
      readonly server: StaticLogin
    }

export interface MemorySample {
  /** The number of repetitions before the sample. */
  readonly done: number
  /** The memory of objects, inside and outside of V8's heap, without compiled code. */
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

/** Repeats the work. All of it has ended when the promise resolves. */
type Run = (times: number) => Promise<void>

/** Gets one token after another from one login, without reuse. */
async function tokenMaker({ of, options }: Extract<Work, { kind: 'tokens' }>): Promise<Run> {
  const { auroraDsql } = await build('core')
  const signer = new DsqlSigner({ hostname: DSQL_HOST, region: REGION, credentials })
  const login = auroraDsql({ host: DSQL_HOST, user: 'app', credentials, ...options })
  return async (times) => {
    for (let made = 0; made < times; made++)
      await (of === 'AWS signer' ? signer.getDbConnectAuthToken() : login.token())
  }
}

/** The maximum number of simultaneous connections. */
const BATCH = 20

/** Opens pools, runs a query on each connection, and closes the pools. All pools use one login. */
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
    // A pool sends Terminate shortly before its sockets are closed.
    while (
      process.getActiveResourcesInfo().some((handle) => /^(?:TCPSocket|TLS)Wrap$/.test(handle))
    )
      await delay(POLL_MS)
  }
}

type Connections = Extract<Work, { kind: 'connections' }>

const POLL_MS = 5

/** Collects garbage first. The targets of weak references are released in a later turn of the event loop. */
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

/** V8 counts machine code separately, and from Node 22 also its metadata. */
const CODE_SPACES = /^(?:code|trusted|shared_trusted)_/
