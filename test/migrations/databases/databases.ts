/** A gateway with an endpoint in DSQL mode and one that is plain PostgreSQL, and a schema of its own for each test. */
import type { Pool } from 'pg'
import { createPool } from '../../../adapters/pg.js'
import { auroraDsql } from '../../../core/providers/aurora-dsql.js'
import { rds } from '../../../core/providers/rds/rds.js'
import { type Gateway, startGateway } from '../../../gateway/index.js'
import type { Login } from '../../../core/index.js'
import type { Dialect } from '../../../migrations/ledger.js'
import type { PooledConnection } from '../../../migrations/migrator.js'

export const DSQL_HOST = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
export const RDS_HOST = 'shop.cluster-c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'

export const DIALECTS: readonly Dialect[] = ['aurora-dsql', 'postgres']

/** A pool whose sessions have one schema in their search path. */
export interface TestSchema {
  readonly name: string
  readonly dialect: Dialect
  readonly pool: Pool
  /** The rows of a query, as arrays of texts. */
  rows(sql: string): Promise<string[][]>
  /** All that a migration can make, and the rows of all tables, without the ledger. */
  content(): Promise<string[]>
}

export interface Databases {
  readonly gateway: Gateway
  /** A login as admin at the endpoint of a dialect. */
  login(dialect: Dialect): Login
  /** Registers nothing: the schema goes with the gateway. */
  schema(dialect: Dialect): Promise<TestSchema>
  /** A pool with the same search path, at the endpoint of a dialect. */
  poolOf(dialect: Dialect, schema: string): Pool
}

/** Registers the start and the end of the gateway for a test file. */
export function useDatabases(): () => Databases {
  let databases: Databases
  const pools: Pool[] = []
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await startGateway({
      engine: 'postgres',
      endpoints: [
        { provider: 'aurora-dsql', hosts: [DSQL_HOST] },
        { provider: 'rds', hosts: [RDS_HOST] },
      ],
      roles: ['app'],
    })
    databases = databasesOf(gateway, pools)
  })
  afterAll(async () => {
    await Promise.all(pools.map(async (pool) => (pool.ending ? undefined : pool.end())))
    await gateway?.close()
  })
  return () => databases
}

function databasesOf(gateway: Gateway, pools: Pool[]): Databases {
  const common = {
    user: 'admin',
    credentials: gateway.credentials,
    tls: { ca: gateway.ca },
    connectTo: { host: '127.0.0.1', port: gateway.port },
    signer: 'built-in',
  } as const
  const loginAt = (dialect: Dialect): Login =>
    dialect === 'aurora-dsql'
      ? auroraDsql({ host: DSQL_HOST, ...common })
      : rds({ host: RDS_HOST, ...common })
  const poolOf = (dialect: Dialect, schema: string): Pool => {
    const options = `-c search_path=${schema}`
    const pool = createPool(loginAt(dialect), { max: 12, options })
    pools.push(pool)
    return pool
  }
  let count = 0
  return {
    gateway,
    login: loginAt,
    poolOf,
    async schema(dialect) {
      const name = `s${process.pid}_${count++}`
      const pool = poolOf(dialect, name)
      await pool.query(`CREATE SCHEMA ${name}`)
      const rows = async (sql: string): Promise<string[][]> => {
        const { rows: found } = await pool.query<unknown[]>({ text: sql, rowMode: 'array' })
        return found.map((row) => row.map(String))
      }
      return { name, dialect, pool, rows, content: () => contentOf(rows, name) }
    },
  }
}

/** Lines about the relations, columns, constraints and indexes of a schema, and its rows. */
export async function contentOf(rows: TestSchema['rows'], schema: string): Promise<string[]> {
  const found = await rows(`
    SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' ||
      concat_ws(' ', CASE WHEN a.attnotnull THEN 'not null' END, nullif(a.attidentity, ''), (SELECT pg_get_expr(d.adbin, d.adrelid)
      FROM pg_attrdef d WHERE d.adrelid = c.oid AND d.adnum = a.attnum))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = '${schema}'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname NOT LIKE 'pg_iam%'
    UNION ALL SELECT 'constraint ' || c.relname || ' ' || k.conname || ' ' || pg_get_constraintdef(k.oid)
    FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype <> 'n'
    WHERE c.relnamespace = '${schema}'::regnamespace AND c.relname NOT LIKE 'pg_iam%'
    UNION ALL SELECT 'index ' || pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END
    FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
    WHERE c.relnamespace = '${schema}'::regnamespace AND c.relname NOT LIKE 'pg_iam%'
    UNION ALL SELECT 'sequence ' || c.relname || ' ' || concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqcache)
    FROM pg_class c JOIN pg_sequence s ON s.seqrelid = c.oid WHERE c.relnamespace = '${schema}'::regnamespace
    ORDER BY 1`)
  const tables = await rows(
    `SELECT relname FROM pg_class WHERE relnamespace = '${schema}'::regnamespace AND relkind = 'r' AND relname NOT LIKE 'pg_iam%' ORDER BY 1`,
  )
  const lines = found.map(([line = '']) => line.replaceAll(`${schema}.`, ''))
  for (const [table = ''] of tables) {
    const all = await rows(`SELECT t::text FROM "${table}" t ORDER BY 1`)
    lines.push(...all.map(([row = '']) => `row ${table} ${row}`))
  }
  return lines
}

/** A connection of which a test decides when it ends. */
export interface Interruption {
  /** Called before each query, with its number from 1. */
  readonly before?: (count: number, sql: string) => 'kill' | 'cut' | undefined
  /** Called after each query, before its answer arrives. */
  readonly after?: (count: number, sql: string) => 'kill' | 'cut' | undefined
}

/** What a killed process would not see. */
export class Killed extends Error {}

/**
 * The connections of one deployer. `kill` is its death: its connection is cut, and nothing that it sends afterwards arrives. `cut` loses
 * only the connection.
 */
export function interruptible(
  pool: Pool,
  { before, after }: Interruption,
): { connect: () => Promise<PooledConnection>; count: () => number } {
  let count = 0
  let isDead = false
  return {
    count: () => count,
    async connect() {
      if (isDead) throw new Killed()
      const client = await pool.connect()
      let isReleased = false
      const end = (how: 'kill' | 'cut'): never => {
        const { stream } = (client as unknown as { connection: { stream: { destroy(): void } } })
          .connection
        stream.destroy()
        if (!isReleased) client.release(true)
        isReleased = true
        if (how === 'cut')
          throw Object.assign(new Error('Connection terminated unexpectedly'), {
            code: 'ECONNRESET',
          })
        isDead = true
        throw new Killed()
      }
      return {
        async query(sql) {
          if (isDead) throw new Killed()
          const own = ++count
          const first = before?.(own, sql)
          if (first !== undefined) end(first)
          const result = await client.query<Record<string, unknown>>(sql)
          const then = after?.(own, sql)
          if (then !== undefined) end(then)
          return result
        },
        release(destroy) {
          if (!isReleased) client.release(destroy === true)
          isReleased = true
        },
      }
    },
  }
}

/** Ends the lease of a deployer that has died, as time would. */
export async function expireLease({ pool }: TestSchema): Promise<void> {
  const { rows } = await pool.query<{ found: boolean }>(
    "SELECT to_regclass('pg_iam_migrations_lease') IS NOT NULL AS found",
  )
  if (rows[0]?.found !== true) return
  await pool.query(`UPDATE pg_iam_migrations_lease SET expires_at = now() - interval '1 second'`)
}
