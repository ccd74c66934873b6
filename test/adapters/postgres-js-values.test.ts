/** Results of our Postgres.js transactions, compared with those of the original on the same server. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isPromise, isProxy } from 'node:util/types'
import { sql as drizzleSql } from 'drizzle-orm'
import postgres, { type Sql, type TransactionSql } from 'postgres'
import { drizzleClient, drizzleTransaction } from '../../adapters/drizzle-postgres-js.js'
import { createSql, postgresOptions, sqlTransaction } from '../../adapters/postgres-js.js'
import { isPgIamError } from '../../core/index.js'
import { endOf } from '../support/eventually.js'
import { rejectionOf } from '../support/adapter-contract/error-chain.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'

type Work = (sql: TransactionSql) => unknown
type Run = (work: Work) => Promise<unknown>

describe('a transaction of Postgres.js', () => {
  let closing: Sql[] = []
  // The original instance is closed first: Postgres.js (3.4) never finishes closing a connection that is cut during a query.
  afterAll(() => Promise.all(closing.map((sql) => sql.end({ timeout: 5 }))))
  const server = useContractServer()
  let bare: Sql
  let ours: Sql
  let runs: Record<string, Run>

  beforeAll(async () => {
    const login = server().login()
    bare = postgres({
      host: '127.0.0.1',
      port: server().gateway.port,
      username: 'app',
      database: login.database,
      password: () => login.password(),
      ssl: { ca: server().gateway.ca, servername: login.host },
      max: 2,
    })
    ours = createSql(login, { max: 2 })
    const retried = createSql(login, { max: 2, retryBegin: true })
    const own = postgres(postgresOptions(login, { max: 2 }))
    const any = (work: Work): ((sql: TransactionSql) => Promise<unknown>) => work as never
    runs = {
      begin: (work) => ours.begin(any(work)),
      'begin with options': (work) => ours.begin('isolation level repeatable read', any(work)),
      'begin with retryBegin': (work) => retried.begin(any(work)),
      savepoint: (work) => ours.begin((sql) => sql.savepoint(any(work))),
      'savepoint with a name': (work) => ours.begin((sql) => sql.savepoint('a', any(work))),
      sqlTransaction: (work) => sqlTransaction(ours, any(work)),
      'sqlTransaction with postgresOptions': (work) => sqlTransaction(own, any(work)),
    }
    closing = [bare, ours, retried, own]
    await ours`CREATE TABLE number (n int)`
  })
  /** All comparable properties of a value. */
  const told = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value
    const { count, command, columns } = value as Record<string, unknown>
    return {
      of: (value.constructor as { name: string } | undefined)?.name,
      isFrozen: Object.isFrozen(value),
      isPromise: isPromise(value),
      count,
      command,
      columns: Array.isArray(columns) ? columns.map(({ name }: { name: string }) => name) : columns,
      items: Array.isArray(value) ? value.map(told) : JSON.stringify(value),
    }
  }
  class Rows extends Array<number> {
    readonly total = 3
  }
  const frozen = Object.freeze({ a: 1 })

  it.each<[string, Work]>([
    ['a result of INSERT', (sql) => sql`INSERT INTO number SELECT generate_series(1, 5)`],
    ['a result of SELECT', (sql) => sql`SELECT 1 AS one, 2 AS two`],
    ['a result of a query with a parameter', (sql) => sql`SELECT ${1}::int AS one`],
    ['a result that was waited for', async (sql) => await sql`SELECT 1 AS one`],
    ['results of several statements', (sql) => sql.unsafe('SELECT 1 AS one; SELECT 2 AS two')],
    ['values', (sql) => sql`SELECT 1 AS one`.values()],
    ['raw values', (sql) => sql`SELECT 1 AS one`.raw()],
    ['a description', async (sql) => (await sql`SELECT 1 AS one`.describe()).columns],
    ['an array of queries', (sql) => [sql`SELECT 1 AS one`, sql`SELECT 2 AS two`, 3]],
    ['an array of promises, from an async function', async () => [Promise.resolve(1), 2]],
    ['an array of a class of its own', async () => Rows.of(1, 2)],
    // oxlint-disable-next-line unicorn/no-thenable -- a function may return one
    ['a thenable', () => ({ then: (resolve: (value: string) => void) => resolve('then') })],
    ['a frozen object', async () => frozen],
    ['undefined', async () => undefined],
    ['null', () => null],
    ['nothing, of a function that is not async', () => {}],
    ['a string', () => 'text'],
  ])('returns %s as the original Postgres.js does', async (_what, work) => {
    const expected = told(await bare.begin(work as never))
    for (const [name, run] of Object.entries(runs))
      expect([name, told(await run(work))]).toEqual([name, expected])
  })

  it('returns the same object that the function returns', async () => {
    for (const run of Object.values(runs)) expect(await run(async () => frozen)).toBe(frozen)
  })

  it.each<[string, unknown]>([
    ['an error', new Error('out of stock')],
    ['a frozen error', Object.freeze(new Error('out of stock'))],
    ['a string', 'out of stock'],
    ['undefined', undefined],
    ['null', null],
  ])('rejects with the same error that its function rejects with: %s', async (_what, failure) => {
    const thrown = (): never => {
      throw failure
    }
    const marker = Symbol('resolved')
    for (const run of Object.values(runs)) {
      for (const work of [thrown, async () => thrown()]) {
        const outcome = await run(work).then(
          () => marker,
          (error: unknown) => error,
        )
        expect(outcome).toBe(failure)
      }
    }
  })

  it('has all properties of an original transaction, and returns its queries', async () => {
    const seen = async (sql: TransactionSql): Promise<unknown> => {
      const query = sql`SELECT 1 AS one`
      const kinds = Object.entries(sql).map(([name, value]) => `${name} ${typeof value}`)
      const looks = [
        isPromise(query),
        isProxy(query),
        query.constructor.name,
        sql.unsafe === sql.unsafe,
      ]
      await query
      return [kinds, looks, typeof sql.savepoint, sql.types === sql.typed]
    }
    const expected = await bare.begin(seen)
    for (const run of Object.values(runs)) expect(await run(seen as Work)).toEqual(expected)
  })

  it('accepts a statement as a savepoint', async () => {
    const work: Work = async (sql) => {
      const savepoint = sql.savepoint as unknown as (
        strings: TemplateStringsArray,
        ...values: unknown[]
      ) => Promise<unknown>
      return [await savepoint`SELECT 1 AS one`, await savepoint`SELECT ${2}::int AS two`]
    }
    const expected = told(await bare.begin(work as never))
    for (const run of Object.values(runs)) expect(told(await run(work))).toEqual(expected)
  })

  it('returns the rows of cursors, of forEach, of files and of large objects', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'values-'))
    const path = join(folder, 'one.sql')
    await writeFile(path, 'SELECT 1 AS one')
    const work: Work = async (sql) => {
      const pages: unknown[] = []
      for await (const rows of sql`SELECT n FROM generate_series(1, 5) n`.cursor(2))
        pages.push([...rows])
      const each: unknown[] = []
      await sql`SELECT n FROM generate_series(1, 2) n`.forEach((row) => each.push(row))
      return { pages, each, file: [...(await sql.file(path))] }
    }
    const expected = await bare.begin(work as never)
    for (const run of Object.values(runs)) expect(await run(work)).toEqual(expected)
    await rm(folder, { recursive: true })
    for (const sql of closing.slice(1)) {
      const object = await sql.largeObject()
      await object.write(Buffer.from('large'))
      await object.seek(0)
      const [row] = (await object.read(5)) as unknown as { data: Buffer }[]
      expect(String(row?.data)).toBe('large')
      await object.close()
    }
  })

  it('survives a file that cannot be read, and a query that is cancelled before it is sent', async () => {
    const done = ours.begin(async (sql) => {
      expect(await rejectionOf(sql.file('/nowhere/at-all.sql'))).toMatchObject({ code: 'ENOENT' })
      const cancelled = sql`SELECT 1`
      cancelled.cancel()
      expect(await rejectionOf(cancelled)).toMatchObject({ code: '57014' })
      return sql`SELECT 2 AS two`
    })
    expect(await endOf(done)).toEqual([{ two: 2 }])
  })

  it('rejects statements of any kind after it has ended', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'values-'))
    const path = join(folder, 'late.sql')
    await writeFile(path, 'INSERT INTO number VALUES (99)')
    let late!: TransactionSql
    let pages!: AsyncIterator<unknown>
    await ours.begin(async (sql) => {
      late = sql
      pages = sql`INSERT INTO number VALUES (99) RETURNING n`.cursor()[Symbol.asyncIterator]()
    })
    const sent: (() => unknown)[] = [
      () => late`INSERT INTO number VALUES (99)`,
      () => late.unsafe('INSERT INTO number VALUES (99)'),
      () => late.file(path),
      () => late`INSERT INTO number VALUES (99)`.execute(),
      () => late`INSERT INTO number VALUES (99) RETURNING n`.forEach(() => {}),
      () => late`COPY number FROM STDIN`.writable(),
      () => late`COPY number TO STDOUT`.readable(),
      () => pages.next(),
      () => late.savepoint((sql) => sql`INSERT INTO number VALUES (99)`),
    ]
    for (const send of sent) {
      const error = await rejectionOf((async () => send())())
      expect([String(send), isPgIamError(error, 'ERR_CLOSED')]).toEqual([String(send), true])
    }
    expect([...(await ours`SELECT n FROM number WHERE n = 99`)]).toEqual([])
    await rm(folder, { recursive: true })
  })

  it('leaves the other properties of the Postgres.js instance unchanged', () => {
    const kinds = (sql: Sql): string[] =>
      Object.entries(sql).map(([name, value]) => `${name} ${typeof value}`)
    expect(kinds(ours)).toEqual(kinds(bare))
    expect([ours.PostgresError, ours.CLOSE]).toEqual([bare.PostgresError, bare.CLOSE])
    expect(Object.keys(ours.options)).toEqual(Object.keys(bare.options))
  })

  it('returns the same results through Drizzle', async () => {
    const db = drizzleClient(server().login(), { connection: { max: 1 } })
    const statement = drizzleSql.raw('INSERT INTO number SELECT generate_series(1, 5)')
    expect((await db.transaction((transaction) => transaction.execute(statement))).count).toBe(5)
    expect(
      (await drizzleTransaction(db, (transaction) => transaction.execute(statement))).count,
    ).toBe(5)
    await db.$client.end()
  })
})

describe('retryBegin', () => {
  const server = useContractServer()
  const twice = (): void => server().gateway.faults.raiseConflicts({ times: 2 })
  afterEach(() => server().gateway.faults.clear())

  it('makes begin retry its function as a whole after a conflict, with the given options', async () => {
    const login = server().login()
    const retries: number[] = []
    const sql = createSql(login, {
      max: 1,
      retryBegin: { baseDelayMs: 0, onRetry: ({ attempt }) => retries.push(attempt) },
    })
    twice()
    let calls = 0
    const work = async (inner: TransactionSql): Promise<number> => {
      calls++
      return (await inner`SELECT 1 AS one`).count
    }
    expect(await sql.begin(work)).toBe(1)
    twice()
    expect(await sql.begin('read write', work)).toBe(1)
    expect([calls, retries, login.stats().conflictsRetried]).toEqual([6, [1, 2, 1, 2], 4])
    await sql.end()
  })

  it('is off by default', async () => {
    for (const retryBegin of [undefined, false] as const) {
      const sql = createSql(server().login(), {
        max: 1,
        ...(retryBegin === false ? { retryBegin } : {}),
      })
      server().gateway.faults.raiseConflicts()
      const error = await rejectionOf(sql.begin((inner) => inner`SELECT 1`))
      expect(error).toMatchObject({ code: '40001' })
      await sql.end()
    }
  })

  it('rejects after the maximum number of attempts', async () => {
    const sql = createSql(server().login(), {
      max: 1,
      retryBegin: { maxAttempts: 2, baseDelayMs: 0 },
    })
    twice()
    const error = await rejectionOf(sql.begin((inner) => inner`SELECT 1`))
    expect(isPgIamError(error, 'ERR_OCC_EXHAUSTED')).toBe(true)
    await sql.end()
  })

  it('leaves savepoints, and transactions inside, to the retry of the outermost transaction', async () => {
    const sql = createSql(server().login(), { max: 2, retryBegin: { baseDelayMs: 0 } })
    const calls = { outer: 0, savepoint: 0, inner: 0 }
    await sql.begin(async (outer) => {
      calls.outer++
      await outer.savepoint(async (inner) => {
        calls.savepoint++
        if (calls.outer === 1) server().gateway.faults.raiseConflicts({ at: 'statement' })
        await inner`SELECT 1`
      })
    })
    expect(calls).toEqual({ outer: 2, savepoint: 2, inner: 0 })
    await sql.begin(async () => {
      await sql.begin(async (inner) => {
        calls.inner++
        if (calls.inner === 1) server().gateway.faults.raiseConflicts({ at: 'statement' })
        await inner`SELECT 1`
      })
      calls.outer++
    })
    expect(calls).toEqual({ outer: 3, savepoint: 2, inner: 2 })
    await sql.end()
  })

  it('is not combined with the retries of drizzleTransaction', async () => {
    const db = drizzleClient(server().login(), {
      connection: { max: 1, retryBegin: { maxAttempts: 2, baseDelayMs: 0 } },
    })
    let calls = 0
    const work = async (transaction: {
      execute(query: never): PromiseLike<unknown>
    }): Promise<void> => {
      calls++
      await transaction.execute(drizzleSql.raw('SELECT 1') as never)
    }
    server().gateway.faults.raiseConflicts()
    await db.transaction(work as never)
    expect(calls).toBe(2)
    server().gateway.faults.raiseConflicts({ times: 10 })
    const error = await rejectionOf(drizzleTransaction(db, work as never))
    expect(isPgIamError(error, 'ERR_OCC_EXHAUSTED')).toBe(true)
    expect(calls).toBe(4)
    await db.$client.end()
  })

  it('sets the defaults of sqlTransaction if given to postgresOptions', async () => {
    const options = postgresOptions(server().login(), {
      max: 1,
      retryBegin: { maxAttempts: 2, baseDelayMs: 0 },
    })
    expect(options).not.toHaveProperty('retryBegin')
    const sql = postgres(options)
    server().gateway.faults.raiseConflicts({ times: 2 })
    const error = await rejectionOf(sqlTransaction(sql, (inner) => inner`SELECT 1`))
    expect(isPgIamError(error, 'ERR_OCC_EXHAUSTED')).toBe(true)
    await sql.end()
  })

  it.each([5, 'yes', null, { attempts: 3 }, { maxAttempts: 0 }, []])(
    'is rejected if it is %j',
    (retryBegin) => {
      for (const make of [createSql, postgresOptions])
        expect(() => make(server().login(), { retryBegin } as never)).toThrow(
          expect.objectContaining({
            code: 'ERR_OPTION_INVALID',
            message: expect.stringContaining('"retryBegin') as string,
          }),
        )
    },
  )
})
