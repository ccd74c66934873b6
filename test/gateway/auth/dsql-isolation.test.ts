import postgresJs from 'postgres'
import { pgTransaction } from '../../../adapters/pg.js'
import { retryOnConflict } from '../../../core/index.js'
import { type Gateway, startGateway } from '../../../gateway/index.js'
import { launchPostgres, type PostgresServer } from '../../support/launch-postgres.js'
import { pgSettings, withClient, withPool } from '../engines/checks/gateway-clients.js'
import { TESTED_ENGINES } from '../engines/checks/tested-engines.js'

const SHOW = 'show transaction_isolation'
const REPEATABLE_READ = [{ transaction_isolation: 'repeatable read' }]

describe.each(TESTED_ENGINES)('an Aurora DSQL session on %s', (engine) => {
  let server: PostgresServer | undefined
  let gateway: Gateway
  beforeAll(async () => {
    if (engine === 'upstream') server = await launchPostgres({ roles: ['admin', 'app'] })
    gateway = await startGateway({
      sql: 'postgres',
      clusters: ['abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'],
      endpoints: [{ provider: 'none', hosts: ['plain.example.com'] }],
      ...(server === undefined
        ? { engine: 'pglite' }
        : { upstream: { host: server.socketDirectory, port: server.port } }),
    })
  })
  afterAll(async () => {
    await gateway?.close()
    await server?.close()
  })
  it('is REPEATABLE READ by default, in each kind of transaction and after each kind of reset', () =>
    withClient(gateway, async (client) => {
      const levels = async (): Promise<void> => {
        expect((await client.query(SHOW)).rows).toEqual(REPEATABLE_READ)
        await client.query('begin')
        expect((await client.query(SHOW)).rows).toEqual(REPEATABLE_READ)
        await client.query('commit and chain')
        expect((await client.query(SHOW)).rows).toEqual(REPEATABLE_READ)
        await client.query('rollback')
      }
      await levels()
      for (const reset of ['reset all', 'reset default_transaction_isolation', 'discard all']) {
        await client.query(reset)
        await levels()
      }
      await client.query('begin isolation level repeatable read, read only')
      await client.query('rollback')
      await client.query('start transaction isolation level repeatable read')
      await client.query('rollback')
      await client.query(
        'set session characteristics as transaction isolation level repeatable read',
      )
      await levels()
    }))

  it('keeps the other startup options of the client', () =>
    withClient(
      gateway,
      async (client) => {
        expect((await client.query(SHOW)).rows).toEqual(REPEATABLE_READ)
        expect((await client.query('show work_mem')).rows).toEqual([{ work_mem: '5MB' }])
      },
      { options: '-c work_mem=5MB', application_name: 'shown' },
    ))

  const setting = (name: string): string =>
    `setting configuration parameter "${name}" not supported`
  const refused: [sql: string, message: string][] = [
    ['BEGIN ISOLATION LEVEL SERIALIZABLE', 'Unsupported isolation level: SERIALIZABLE'],
    ['begin work isolation level read committed', 'Unsupported isolation level: READ COMMITTED'],
    [
      '/* a comment */ start transaction read only, isolation level read uncommitted',
      'Unsupported isolation level: READ UNCOMMITTED',
    ],
    ['SET TRANSACTION ISOLATION LEVEL SERIALIZABLE', 'Unsupported isolation level: SERIALIZABLE'],
    ['SET TRANSACTION ISOLATION LEVEL REPEATABLE READ', setting('TRANSACTION')],
    [
      'set session characteristics as transaction isolation level read committed',
      'Unsupported isolation level: READ COMMITTED',
    ],
    [
      `SET default_transaction_isolation = 'read committed'`,
      setting('default_transaction_isolation'),
    ],
    [
      `set session "default_transaction_isolation" to serializable`,
      setting('default_transaction_isolation'),
    ],
    [`SET LOCAL transaction_isolation TO 'read committed'`, setting('transaction_isolation')],
    [
      `select set_config('default_transaction_isolation', 'read committed', false)`,
      setting('default_transaction_isolation'),
    ],
    [
      `update pg_settings set setting = 'read committed' where name = 'default_transaction_isolation'`,
      setting('default_transaction_isolation'),
    ],
  ]
  it.each(refused)('refuses %s without changing the isolation level', (sql, message) =>
    withClient(gateway, async (client) => {
      for (const ask of [
        () => client.query(sql),
        () => client.query({ text: sql, name: 'prepared' }),
        () => client.query({ text: sql, queryMode: 'extended' } as never),
        () => client.query(`select 1; ${sql}; select 2`),
      ]) {
        await expect(ask()).rejects.toMatchObject({ severity: 'ERROR', code: '0A000', message })
        expect((await client.query(SHOW)).rows).toEqual(REPEATABLE_READ)
      }
      await client.query('begin')
      await expect(client.query(sql)).rejects.toMatchObject({ code: '0A000', message })
      await expect(client.query('select 1')).rejects.toMatchObject({ code: '25P02' })
      await client.query('rollback')
    }),
  )

  it.each([
    { options: '-c default_transaction_isolation=serializable' },
    { options: '-c work_mem=5MB --default-transaction-isolation=read\\ committed' },
    { options: '-cDEFAULT_TRANSACTION_ISOLATION=serializable' },
  ])('is refused if the startup packet requests another isolation level: %j', async (settings) => {
    const attempt = withClient(gateway, (client) => client.query('select 1'), settings)
    const message = setting('default_transaction_isolation')
    await expect(attempt).rejects.toMatchObject({ severity: 'FATAL', code: '0A000', message })
    expect(gateway.stats().refusals).toMatchObject({ 'setting-refused': expect.any(Number) })
  })

  it('does not change SQL in which isolation levels occur only in text', () =>
    withClient(gateway, async (client) => {
      const text = 'begin isolation level serializable; ä'
      const { rows } = await client.query(
        `select '${text}' as a, $$${text}$$ as b, $1::text as c -- isolation level serializable`,
        [text],
      )
      expect(rows).toEqual([{ a: text, b: text, c: text }])
    }))

  it('supports Postgres.js transactions, and refuses another isolation level in them', async () => {
    const { host, port, user, database, ssl, password } = pgSettings(gateway)
    const sql = postgresJs({
      host: host!,
      port: port!,
      user: user!,
      database: database!,
      ssl: ssl as object,
      password: password as () => Promise<string>,
      max: 1,
    })
    try {
      expect([...(await sql.begin((tx) => tx.unsafe(SHOW)))]).toEqual(REPEATABLE_READ)
      const other = sql.begin('isolation level serializable', (tx) => tx.unsafe(SHOW))
      await expect(other).rejects.toMatchObject({ code: '0A000' })
    } finally {
      await sql.end()
    }
  })

  it('of another provider has the default level of the database and accepts any level', async () => {
    const settings = {
      password: '',
      ssl: { ca: gateway.ca, servername: 'plain.example.com' },
    }
    await withClient(
      gateway,
      async (client) => {
        const { rows } = await client.query(SHOW)
        expect(rows).toEqual([{ transaction_isolation: 'read committed' }])
        await client.query('begin isolation level serializable')
        await client.query('rollback')
      },
      settings,
    )
  })
})

describe('two Aurora DSQL sessions that change the same row concurrently', () => {
  let server: PostgresServer
  let gateway: Gateway
  beforeAll(async () => {
    server = await launchPostgres({ roles: ['admin', 'app'] })
    gateway = await startGateway({
      sql: 'postgres',
      upstream: { host: server.socketDirectory, port: server.port },
    })
    await withClient(gateway, (client) =>
      client.query('create table counter (n int); insert into counter values (0)'),
    )
  })
  beforeEach(() => withClient(gateway, (client) => client.query('update counter set n = 0')))
  afterAll(async () => {
    await gateway?.close()
    await server?.close()
  })
  const count = (): Promise<unknown> =>
    withClient(gateway, async (client) => (await client.query('select n from counter')).rows)

  it('lose no update, because the second one fails with a conflict', () =>
    withPool(gateway, 2, async (pool) => {
      const [one, two] = [await pool.connect(), await pool.connect()]
      for (const client of [one, two]) {
        await client.query('begin')
        expect((await client.query('select n from counter')).rows).toEqual([{ n: 0 }])
      }
      await one.query('update counter set n = 1')
      await one.query('commit')
      await expect(two.query('update counter set n = 1')).rejects.toMatchObject({ code: '40001' })
      await two.query('rollback')
      one.release()
      two.release()
      expect(await count()).toEqual([{ n: 1 }])
    }))

  it('both take effect if the application retries', () =>
    withPool(gateway, 2, async (pool) => {
      let runs = 0
      const bothHaveRead: (() => void)[] = []
      const increment = (): Promise<void> =>
        pgTransaction(pool, async (client) => {
          const isFirst = ++runs <= 2
          const { rows } = await client.query<{ n: number }>('select n from counter')
          if (isFirst) {
            await new Promise<void>((resolve) => {
              bothHaveRead.push(resolve)
              if (bothHaveRead.length === 2) for (const go of bothHaveRead) go()
            })
          }
          await client.query('update counter set n = $1', [rows[0]!.n + 1])
        })
      await Promise.all([increment(), increment()])
      expect(runs).toBe(3)
      expect(await count()).toEqual([{ n: 2 }])
    }))

  it('both take effect with statements outside of transactions', () =>
    withPool(gateway, 5, async (pool) => {
      await Promise.all(
        Array.from({ length: 20 }, () =>
          retryOnConflict(() => pool.query('update counter set n = n + 1'), {
            maxAttempts: 100,
            baseDelayMs: 1,
            maxDelayMs: 20,
          }),
        ),
      )
      expect(await count()).toEqual([{ n: 20 }])
    }))
})
