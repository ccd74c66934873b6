import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import type { Options, Sql } from 'postgres'
import { createSql, postgresOptions } from '../../adapters/postgres-js.js'
import type { AwsCredentials, Login } from '../../core/index.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { rejectionOf } from '../support/adapter-contract/error-chain.js'
import { createDeferred } from '../support/deferred.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { withEnvironment } from '../support/environment.js'
import { client } from '../clients/postgres-js.js'

describeAdapterContract(client)

describe('createSql', () => {
  const server = useContractServer()
  const opened: Sql[] = []

  const open = (login: Login, options?: Options<{}>): Sql => {
    const sql = createSql(login, options)
    opened.push(sql)
    return sql
  }

  afterEach(() => Promise.all(opened.splice(0).map((sql) => sql.end({ timeout: 1 }))))

  it('times out after `connect_timeout` while no token arrives, and keeps working', async () => {
    const { promise, resolve } = createDeferred<AwsCredentials>()
    const credentials = () => promise
    const sql = open(server().login({ credentials }), { max: 1, connect_timeout: 0.5 })
    expect(await rejectionOf(sql`SELECT 1`)).toMatchObject({ code: 'CONNECT_TIMEOUT' })
    resolve(server().gateway.credentials)
    // A slow machine may need several times as long to log in.
    const query = async (): Promise<unknown> => {
      for (;;) {
        try {
          return [...(await sql`SELECT 1 AS one`)]
        } catch (error) {
          if ((error as { code?: unknown }).code !== 'CONNECT_TIMEOUT') throw error
        }
      }
    }
    expect(await query()).toEqual([{ one: 1 }])
  })

  it('accepts custom types, and reads and writes them', async () => {
    const point = {
      to: 600,
      from: [600],
      serialize: ({ x, y }: { x: number; y: number }) => `(${x},${y})`,
      parse: (raw: string) => {
        const [x, y] = raw.slice(1, -1).split(',').map(Number)
        return { x, y }
      },
    }
    const sql = createSql(server().login(), { types: { point } })
    try {
      const rows = await sql`SELECT ${sql.types.point({ x: 1, y: 2 })}::point AS p`
      expect([...rows]).toEqual([{ p: { x: 1, y: 2 } }])
    } finally {
      await sql.end()
    }
  })

  it('runs COPY in both directions', async () => {
    const sql = open(server().login(), { max: 1 })
    await sql`CREATE TEMPORARY TABLE copied (id int, body text)`
    const lines = Array.from({ length: 10_000 }, (_, id) => `${id}\tline ${id}\n`)
    await pipeline(Readable.from(lines), await sql`COPY copied FROM STDIN`.writable())
    expect(await text(await sql`COPY copied TO STDOUT`.readable())).toBe(lines.join(''))
  })

  it('reads with a cursor, and 100,000 rows at once', async () => {
    const sql = open(server().login(), { max: 1 })
    const sizes: number[] = []
    for await (const rows of sql`SELECT n FROM generate_series(1, 10) n`.cursor(4))
      sizes.push(rows.length)
    expect(sizes).toEqual([4, 4, 2])
    expect(await sql`SELECT n FROM generate_series(1, 100000) n`).toHaveLength(100_000)
  })

  it('transfers a parameter of 5 MB', async () => {
    const sql = open(server().login(), { max: 1 })
    const rows = await sql`SELECT length(${'x'.repeat(5_000_000)}) AS length`
    expect([...rows]).toEqual([{ length: 5_000_000 }])
  })

  it('cancels a query over a connection without a token', async () => {
    const login = server().login()
    const running = createDeferred<unknown>()
    const sql = open(login, { max: 1, onnotice: running.resolve })
    const query = sql`DO $$ BEGIN RAISE NOTICE 'running'; PERFORM pg_sleep(60); END $$`
    const failed = rejectionOf(query)
    await running.promise
    query.cancel()
    expect(await failed).toMatchObject({ code: '57014' })
    expect(login.stats().tokensMade).toBe(1)
  })

  it('listens on a connection with its own token', async () => {
    const login = server().login()
    const sql = open(login, { max: 1 })
    const received = createDeferred<string>()
    await sql.listen('contract', received.resolve)
    await sql.notify('contract', 'hello')
    expect(await received.promise).toBe('hello')
    expect(login.stats()).toMatchObject({ tokensMade: 2, connectionsOpened: 2 })
  })

  it('reserves a connection', async () => {
    const sql = open(server().login(), { max: 1 })
    const reserved = await sql.reserve()
    await reserved`SET application_name TO 'reserved'`
    const rows = await reserved`SELECT current_setting('application_name') AS name`
    expect([...rows]).toEqual([{ name: 'reserved' }])
    reserved.release()
  })

  it.each([
    { PGSSL: 'require' },
    { PGSSLMODE: 'disable', PGSSLNEGOTIATION: 'direct' },
    { PGPASSWORD: 'from the environment', PGUSER: 'admin', PGHOST: 'nowhere.example' },
    { PGTARGETSESSIONATTRS: 'read-write' },
  ])('ignores the environment %j', async (variables) => {
    const login = server().login()
    await withEnvironment(variables, async () => {
      const rows = await open(login)`SELECT current_user AS role`
      expect([...rows]).toEqual([{ role: 'app' }])
    })
  })

  it('rejects a URL in place of options', () => {
    const url = 'postgres://app@db.example.com/shop' as never
    expect(() => createSql(server().login(), url)).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION_INVALID' }),
    )
  })
})

describe('postgresOptions', () => {
  const server = useContractServer()

  it('contains no password and no token', () => {
    const options = postgresOptions(server().login())
    expect(options).not.toHaveProperty('password')
    expect(options).not.toHaveProperty('pass')
  })
})
