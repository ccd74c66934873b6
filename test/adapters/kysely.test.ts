import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely'
import Cursor from 'pg-cursor'
import {
  kyselyDialect,
  type KyselyDialectConfig,
  kyselyTransaction,
} from '../../adapters/kysely.js'
import { createPool } from '../../adapters/pg.js'
import type { Login } from '../../core/index.js'
import { createDeferred } from '../support/deferred.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { rejectionOf } from '../support/adapter-contract/error-chain.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { client } from '../clients/kysely.js'

describeAdapterContract(client)

interface Database {
  note: { id: number; body: string | null }
}

type Db = Kysely<Database>

const withCode = (code: string): unknown => expect.objectContaining({ code }) as unknown
const one = sql<{ one: number }>`SELECT 1 AS one`
const backend = sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`

async function withKysely(
  login: Login,
  config: KyselyDialectConfig,
  use: (db: Db) => Promise<void>,
): Promise<void> {
  const db = new Kysely<Database>({ dialect: kyselyDialect(login, config) })
  try {
    await use(db)
  } finally {
    await db.destroy()
  }
}

const idsOf = async (db: Db, ids: number[]): Promise<number[]> => {
  const notes = db.selectFrom('note').select('id').where('id', 'in', ids)
  return (await notes.execute()).map(({ id }) => id)
}

describe('kyselyDialect', () => {
  const server = useContractServer()

  it('calls onCreateConnection once for each connection, and onReserveConnection each time', async () => {
    const calls: string[] = []
    const config: KyselyDialectConfig = {
      pool: { max: 1 },
      onCreateConnection: async (connection) => {
        calls.push('create')
        await connection.executeQuery(sql`SET search_path TO pg_temp, public`.compile(db))
      },
      onReserveConnection: async () => void calls.push('reserve'),
    }
    const db: Db = new Kysely<Database>({ dialect: kyselyDialect(server().login(), config) })
    const path = sql<{ search_path: string }>`SHOW search_path`
    for (let time = 1; time <= 2; time++)
      expect((await path.execute(db)).rows).toEqual([{ search_path: 'pg_temp, public' }])
    await kyselyTransaction(db, async (transaction) => one.execute(transaction))
    expect(calls).toEqual(['create', 'reserve', 'reserve', 'reserve'])
    await db.destroy()
  })

  it.each(['onCreateConnection', 'onReserveConnection'] as const)(
    'frees the slot of a connection if %s fails',
    async (hook) => {
      const failure = new Error('no such setting')
      let failures = 2
      const fail = async (): Promise<void> => {
        if (failures-- > 0) throw failure
      }
      await withKysely(server().login(), { pool: { max: 1 }, [hook]: fail }, async (db) => {
        expect(await rejectionOf(one.execute(db))).toBe(failure)
        expect(await rejectionOf(db.transaction().execute(async () => 1))).toBe(failure)
        expect((await one.execute(db)).rows).toEqual([{ one: 1 }])
      })
    },
  )

  it('streams with a cursor, also in a transaction', async () => {
    await withKysely(server().login(), { pool: { max: 1 }, cursor: Cursor }, async (db) => {
      const numbers = sql<{ n: number }>`(SELECT generate_series(1, 5) AS n)`.as('numbers')
      const read = async (from: Db): Promise<number[]> => {
        const found: number[] = []
        for await (const { n } of from.selectFrom(numbers).select('n').stream(2)) found.push(n)
        return found
      }
      expect(await read(db)).toEqual([1, 2, 3, 4, 5])
      expect(await kyselyTransaction(db, read)).toEqual([1, 2, 3, 4, 5])
      expect(await db.transaction().execute(read)).toEqual([1, 2, 3, 4, 5])
    })
  })

  it('logs the statements of a transaction as Kysely does', async () => {
    const logged: string[] = []
    const db: Db = new Kysely<Database>({
      dialect: kyselyDialect(server().login()),
      log: ({ query }) => void logged.push(query.sql),
    })
    await kyselyTransaction(db, (transaction) => one.execute(transaction))
    await rejectionOf(db.transaction().execute(() => Promise.reject(new Error('no'))))
    expect(logged).toEqual(['begin', 'SELECT 1 AS one', 'commit', 'begin', 'rollback'])
    await db.destroy()
  })

  it('keeps the connection if the server answers COMMIT with ROLLBACK', async () => {
    const login = server().login()
    await withKysely(login, { pool: { max: 1 } }, async (db) => {
      const aborted = db.transaction().execute(async (transaction) => {
        await rejectionOf(sql`SELECT 1 / 0`.execute(transaction))
      })
      // Kysely rejects since 0.28.19.
      await aborted.catch(() => {})
      await one.execute(db)
      expect(login.stats().connectionsOpened).toBe(1)
    })
  })

  it('runs several transactions on one connection of connection(), and statements between them', async () => {
    await withKysely(server().login(), { pool: { max: 1 } }, async (db) => {
      await db.connection().execute(async (connected) => {
        const pids = new Set<unknown>()
        const add = async (on: Db): Promise<void> =>
          void pids.add((await backend.execute(on)).rows[0]?.pid)
        await add(connected)
        await kyselyTransaction(connected, add)
        await add(connected)
        await rejectionOf(
          connected.transaction().execute(async (transaction) => {
            await add(transaction)
            throw new Error('changed my mind')
          }),
        )
        await add(connected)
        expect(pids.size).toBe(1)
      })
    })
  })

  it('rejects statements on a connection of connection() after its release', async () => {
    await withKysely(server().login(), { pool: { max: 1 } }, async (db) => {
      const late = await db.connection().execute(async (connected) => connected)
      expect(await rejectionOf(one.execute(late))).toEqual(withCode('ERR_CLOSED'))
      expect((await one.execute(db)).rows).toEqual([{ one: 1 }])
    })
  })

  it('runs controlled transactions with savepoints, and frees the slot after a failed COMMIT', async () => {
    const login = server().login()
    await withKysely(login, { pool: { max: 1 } }, async (db) => {
      const first = await db.startTransaction().execute()
      await first.insertInto('note').values({ id: 101, body: 'kept' }).execute()
      const saved = await first.savepoint('saved').execute()
      await saved.insertInto('note').values({ id: 102, body: 'gone' }).execute()
      await saved.rollbackToSavepoint('saved').execute()
      await saved.releaseSavepoint('saved').execute()
      await first.commit().execute()
      expect(await idsOf(db, [101, 102])).toEqual([101])

      server().gateway.faults.raiseConflicts({ at: 'commit' })
      const second = await db.startTransaction().execute()
      await second.insertInto('note').values({ id: 103, body: 'gone' }).execute()
      expect(await rejectionOf(second.commit().execute())).toMatchObject({ code: '40001' })
      await second.rollback().execute()
      expect(await idsOf(db, [103])).toEqual([])
      expect(login.stats().connectionsOpened).toBe(1)
    })
  })

  it.each(['max', 'password', 'connectionString', 'application_name'])(
    'explains where the option %s of the pool belongs',
    (option) => {
      expect(() => kyselyDialect(server().login(), { [option]: 5 } as object)).toThrow(
        expect.objectContaining({
          code: 'ERR_OPTION_INVALID',
          hint: `Options of the pool are fields of "pool": { pool: { ${option} } }.`,
        }),
      )
    },
  )

  it('suggests the name of a misspelled option', () => {
    const config: object = { onCreateConection: async () => {} }
    expect(() => kyselyDialect(server().login(), config)).toThrow(
      expect.objectContaining({ hint: 'Did you mean "onCreateConnection"?' }),
    )
  })
})

describe('kyselyTransaction', () => {
  const server = useContractServer()

  it('passes on the access mode, and rejects an unknown one', async () => {
    await withKysely(server().login(), {}, async (db) => {
      const mode = sql<{ transaction_read_only: string }>`SHOW transaction_read_only`
      const read = (transaction: Db) => mode.execute(transaction)
      const { rows } = await kyselyTransaction(db, read, { accessMode: 'read only' })
      expect(rows).toEqual([{ transaction_read_only: 'on' }])
      for (const options of [
        { accessMode: 'write' },
        { isolationLevel: 'snapshot' },
        { retries: 2 },
      ])
        expect(await rejectionOf(kyselyTransaction(db, read, options as object))).toEqual(
          withCode('ERR_OPTION_INVALID'),
        )
    })
  })

  it('never runs a statement of a transaction that has ended in the next one on its connection', async () => {
    await withKysely(server().login(), { pool: { max: 1 } }, async (db) => {
      const insert = (on: Db, id: number) => on.insertInto('note').values({ id, body: 'late' })
      const ours = withCode('ERR_CLOSED')
      const either = expect.any(Error) as unknown
      const late: [unknown, (id: number) => Promise<unknown>][] = []
      const keep = async (transaction: Transaction<Database>): Promise<void> => {
        late.push(
          [ours, (id) => insert(transaction, id).execute()],
          // Without the plugin of the transaction function, Kysely itself knows that the transaction has ended.
          [either, async (id) => transaction.executeQuery(insert(db, id).compile())],
          [either, (id) => insert(transaction.withoutPlugins(), id).execute()],
        )
        // Its connection does not.
        await transaction.getExecutor().provideConnection(async (connection) => {
          late.push([ours, (id) => connection.executeQuery(insert(db, id).compile())])
        })
      }
      await kyselyTransaction(db, keep)
      await rejectionOf(
        kyselyTransaction(db, async (transaction) => {
          await keep(transaction)
          throw new Error('changed my mind')
        }),
      )
      // Nor, depending on the version, what is derived from a controlled transaction.
      const controlled = await db.startTransaction().execute()
      const saved = await controlled.savepoint('saved').execute()
      late.push([either, (id) => insert(saved, id).execute()])
      late.push([either, (id) => insert(controlled.withSchema('public'), id).execute()])
      await controlled.commit().execute()

      const ids = late.map((_each, index) => 111 + index)
      await kyselyTransaction(db, async (transaction) => {
        await transaction.insertInto('note').values({ id: 110, body: 'next' }).execute()
        for (const [index, [error, send]] of late.entries())
          expect(await rejectionOf(send(111 + index))).toEqual(error)
      })
      expect(await idsOf(db, [110, ...ids])).toEqual([110])
    })
  })

  it('rejects a statement that still waits for another one when its function returns', async () => {
    await withKysely(server().login(), { pool: { max: 1 } }, async (db) => {
      const results = createDeferred<unknown>()
      await kyselyTransaction(db, async (transaction) => {
        const running = sql`SELECT pg_sleep(0.05)`.execute(transaction).then(() => 'ran')
        const waiting = transaction.insertInto('note').values({ id: 121, body: 'late' }).execute()
        results.resolve(Promise.all([running, rejectionOf(waiting)]))
      })
      expect(await results.promise).toEqual(['ran', withCode('ERR_CLOSED')])
      expect(await idsOf(db, [121])).toEqual([])
    })
  })

  it('rejects a call within a transaction of the same pool, with any database derived from it', async () => {
    await withKysely(server().login(), { pool: { max: 1 } }, async (db) => {
      const within = kyselyTransaction(db, () =>
        rejectionOf(kyselyTransaction(db.withSchema('public'), async () => 1)),
      )
      expect(await within).toEqual(withCode('ERR_TRANSACTION_NESTED'))
      const controlled = await db.startTransaction().execute()
      expect(await rejectionOf(kyselyTransaction(controlled as Db, async () => 1))).toEqual(
        withCode('ERR_TRANSACTION_NESTED'),
      )
      await controlled.rollback().execute()
    })
  })

  it("is not confused by Kysely's own transactions in its function", async () => {
    await withKysely(server().login(), { pool: { max: 2 } }, async (db) => {
      const lost = kyselyTransaction(db, async (transaction) => {
        await one.execute(transaction)
        await db.transaction().execute((inner) => one.execute(inner))
        server().gateway.faults.cut({ at: 'after-commit' })
      })
      expect(await rejectionOf(lost)).toEqual(withCode('ERR_OUTCOME_UNKNOWN'))
      expect((await one.execute(db)).rows).toEqual([{ one: 1 }])
    })
  })

  it('allows a transaction of another pool within one', async () => {
    await withKysely(server().login(), { pool: { max: 1 } }, async (db) => {
      await withKysely(server().login(), { pool: { max: 1 } }, async (other) => {
        const inner = (): Promise<{ rows: unknown }> =>
          kyselyTransaction(other, (transaction) => one.execute(transaction))
        expect((await kyselyTransaction(db, inner)).rows).toEqual([{ one: 1 }])
      })
    })
  })

  it('runs with the plugins of the database', async () => {
    await withKysely(server().login(), {}, async (db) => {
      const schema = db.withSchema('information_schema') as unknown as Kysely<{
        tables: { table_name: string }
      }>
      const found = await kyselyTransaction(schema, (transaction) =>
        transaction
          .selectFrom('tables')
          .select('table_name')
          .where('table_name', '=', 'note')
          .executeTakeFirst(),
      )
      expect(found).toEqual({ table_name: 'note' })
    })
  })

  it('rejects a database on another dialect, which would run late statements', async () => {
    const pool = createPool(server().login())
    const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })
    expect(await rejectionOf(kyselyTransaction(db, async () => 1))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringMatching(/^"db" must be a Kysely on the dialect that kyselyDialect/),
    })
    await pool.end()
  })
})
