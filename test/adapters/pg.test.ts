import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { text } from 'node:stream/consumers'
import { Client, Pool, Query, type ClientBase, type PoolClient } from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import { createClient, createPool, pgConfig, pgTransaction } from '../../adapters/pg.js'
import { customLogin, type AwsCredentials } from '../../core/index.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { errorChain, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { eventually } from '../support/eventually.js'
import { createDeferred } from '../support/deferred.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { withEnvironment } from '../support/environment.js'
import { client } from '../clients/pg.js'

describeAdapterContract(client, { scope: 'provider' })

describe('createClient', () => {
  const server = useContractServer()

  it('logs in with one token and ends', async () => {
    const login = server().login()
    const client = createClient(login, { application_name: 'single' })
    await client.connect()
    const { rows } = await client.query("SELECT current_setting('application_name') AS name")
    expect(rows).toEqual([{ name: 'single' }])
    expect(login.stats()).toMatchObject({ tokensMade: 1, connectionsOpen: 1 })
    await client.end()
    await eventually('the end of the connection', () => login.stats().connectionsOpen === 0)
  })

  it('rejects `connect` with the original error', async () => {
    const original = new Error('no credentials today')
    const client = createClient(server().login({ credentials: () => Promise.reject(original) }))
    const error = await rejectionOf(client.connect())
    expect(errorChain(error)).toContain(original)
  })

  it('survives the loss of its backend', async () => {
    const client = createClient(server().login())
    await client.connect()
    const ended = new Promise((resolve) => client.once('end', resolve))
    await server().endSessions()
    await ended
    await expect(client.query('SELECT 1')).rejects.toThrow()
    await client.end()
  })

  it.each([
    ['a password', { password: 'secret' }, 'ERR_OPTION_CONFLICT'],
    ['a connection string', { connectionString: 'postgres://h/d' }, 'ERR_OPTION_CONFLICT'],
    ['ssl: false', { ssl: false }, 'ERR_TLS_UNVERIFIED'],
  ])('rejects %s', (_what, config, code) => {
    expect(() => createClient(server().login(), config)).toThrow(expect.objectContaining({ code }))
  })
})

describe('createPool', () => {
  const server = useContractServer()
  const pools: Pool[] = []
  const open = (...parameters: Parameters<typeof createPool>): Pool => {
    const pool = createPool(...parameters)
    pools.push(pool)
    return pool
  }

  afterEach(() => Promise.all(pools.splice(0).map((pool) => pool.end())))

  it('respects `connectionTimeoutMillis` while no token arrives', async () => {
    const { promise, resolve } = createDeferred<AwsCredentials>()
    const credentials = () => promise
    const login = server().login({ credentials })
    const pool = open(login, { connectionTimeoutMillis: 1_500 })
    await expect(pool.query('SELECT 1')).rejects.toThrow('timeout')

    // A token that arrives too late has no effect, and opens no connection.
    const dialled = server().relay.accepted()
    resolve(server().gateway.credentials)
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    expect(server().relay.accepted() - dialled).toBe(1)
  })

  it("calls the caller's `onConnect`, and awaits it", async () => {
    const calls: string[] = []
    // pg awaits a promise, which its types do not declare.
    const onConnect = (client: ClientBase): void =>
      client
        .query("SET application_name TO 'from onConnect'")
        .then(() => calls.push('done')) as never
    const pool = open(server().login(), { onConnect })
    const { rows } = await pool.query("SELECT current_setting('application_name') AS name")
    expect(rows).toEqual([{ name: 'from onConnect' }])
    expect(calls).toEqual(['done'])
  })

  it.each([
    ['ssl: true', { ssl: true }],
    ['rejectUnauthorized: true', { ssl: { rejectUnauthorized: true } }],
    ['the host, port and user of the login', {}],
  ])('accepts %s, which requests the existing behaviour', async (_what, config) => {
    const login = server().login()
    const same = { host: login.host, port: login.port, user: 'app', database: login.database }
    const pool = open(login, { ...config, ...same })
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  })

  it.each([
    { PGSSLMODE: 'disable' },
    { PGSSLMODE: 'no-verify' },
    { PGSSLNEGOTIATION: 'direct' },
    { PGPASSWORD: 'from the environment', PGUSER: 'admin', PGHOST: 'nowhere.example' },
  ])('ignores the environment %j', async (variables) => {
    const login = server().login()
    await withEnvironment(variables, async () => {
      const pool = open(login)
      expect((await pool.query('SELECT current_user AS role')).rows).toEqual([{ role: 'app' }])
    })
  })

  it('transfers a parameter of 5 MB and 100,000 rows', async () => {
    const pool = open(server().login())
    const body = 'x'.repeat(5_000_000)
    const parameter = await pool.query<{ length: number }>('SELECT length($1) AS length', [body])
    expect(parameter.rows[0]?.length).toBe(5_000_000)
    const { rows } = await pool.query<{ n: number }>('SELECT n FROM generate_series(1, 100000) n')
    expect(rows).toHaveLength(100_000)
    expect(rows.at(-1)).toEqual({ n: 100_000 })
  })

  describe('with one client', () => {
    let client: PoolClient

    beforeEach(async () => {
      client = await open(server().login()).connect()
    })

    afterEach(() => client.release())

    it('runs COPY in both directions', async () => {
      await client.query('CREATE TEMPORARY TABLE copied (id int, body text)')
      const lines = Array.from({ length: 10_000 }, (_, id) => `${id}\tline ${id}\n`)
      await pipeline(Readable.from(lines), client.query(copyFrom('COPY copied FROM STDIN')))
      const copy = await text(client.query(copyTo('COPY copied TO STDOUT')))
      expect(copy).toBe(lines.join(''))
    })

    it('reads with a cursor', async () => {
      const cursor = client.query(new Cursor('SELECT n FROM generate_series(1, 10) n'))
      expect(await cursor.read(4)).toHaveLength(4)
      expect(await cursor.read(100)).toHaveLength(6)
      await cursor.close()
    })

    it('runs pipelined queries', async () => {
      const queries = Array.from({ length: 50 }, (_, n) => client.query('SELECT $1::int AS n', [n]))
      const results = await Promise.all(queries)
      expect(results.map(({ rows }) => rows[0] as unknown)).toEqual(
        Array.from({ length: 50 }, (_, n) => ({ n })),
      )
    })
  })

  it('cancels a query over a connection without a token', async () => {
    const login = server().login()
    const client = await open(login).connect()
    const query = new Query("DO $$ BEGIN RAISE NOTICE 'running'; PERFORM pg_sleep(60); END $$")
    const failed = once(query, 'error')
    const running = once(client, 'notice')
    client.query(query)
    await running
    // Missing in the types of pg.
    const canceller = createClient(login) as Client & {
      cancel(client: unknown, query: Query): void
    }
    canceller.cancel(client, query)
    expect(await failed).toEqual([expect.objectContaining({ code: '57014' })])
    expect(login.stats().tokensMade).toBe(1)
    client.release()
  })
})

describe('pgConfig', () => {
  const server = useContractServer()

  it('works for a single client as well as for a pool', async () => {
    const client = new Client(pgConfig(server().login()))
    await client.connect()
    expect((await client.query('SELECT current_user AS role')).rows).toEqual([{ role: 'app' }])
    await client.end()
  })

  it('keeps the process alive when the backend of a checked-out client is lost', async () => {
    const pool = new Pool(pgConfig(server().login()))
    pool.on('error', () => {})
    const client = await pool.connect()
    const ended = new Promise((resolve) => client.once('end', resolve))
    await server().endSessions()
    await ended
    client.release(true)
    expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    await pool.end()
  })

  // As the readReplicas of Payload (3.90) do.
  it('fails the connections of a pool that a library directs to another server', async () => {
    const login = server().login()
    const connectionString = 'postgres://reader.example.com/postgres'
    const pool = new Pool({ ...pgConfig(login), connectionString } as object)
    expect(await rejectionOf(pool.query('SELECT 1'))).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: expect.stringContaining('"reader.example.com"') as string,
    })
    expect(login.stats()).toMatchObject({ tokensMade: 0, connectionsOpened: 0 })
    await pool.end()
  })

  it('contains no password and no token', () => {
    expect(pgConfig(server().login())).not.toHaveProperty('password')
  })
})

describe('pgTransaction', () => {
  it('suggests the nearest retry option for a mistyped one', async () => {
    const options = { maxAttemps: 2 } as object
    const pool = createPool(
      customLogin({ host: 'db.example.com', user: 'app', getToken: async () => 'x' }),
    )
    await expect((async () => pgTransaction(pool, async () => 1, options))()).rejects.toMatchObject(
      {
        code: 'ERR_OPTION_INVALID',
        hint: expect.stringContaining('maxAttempts'),
      },
    )
  })
})
