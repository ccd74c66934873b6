import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { withReplicas } from 'drizzle-orm/pg-core'
import { drizzleClient, drizzleTransaction } from '../../adapters/drizzle.js'
import { createPool } from '../../adapters/pg.js'
import { sqlStateOf } from '../../core/transactions/is-occ-conflict.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { rejectionOf } from '../support/adapter-contract/error-chain.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { client } from '../clients/drizzle.js'
import { note } from './drizzle-tables.js'
import { withId, withTable } from './relational-queries.js'

describeAdapterContract(client)

describe('drizzleClient on pg', () => {
  const server = useContractServer()

  it('accepts a schema for relational queries', async () => {
    const db = drizzleClient(server().login(), withTable(note))
    await db.insert(note).values({ id: 1, body: 'one' })
    expect(await db.query.note.findFirst({ where: withId(note, 1) })).toEqual({
      id: 1,
      body: 'one',
    })
    await db.$client.end()
  })

  it('nests transactions in savepoints of one connection', async () => {
    const login = server().login()
    const db = drizzleClient(login)
    await db.transaction(async (outer) => {
      await outer.insert(note).values({ id: 2, body: 'outer' })
      await rejectionOf(
        outer.transaction(async (inner) => {
          await inner.insert(note).values({ id: 3, body: 'inner' })
          inner.rollback()
        }),
      )
    })
    const rows = await db
      .select({ id: note.id })
      .from(note)
      .where(sql`id IN (2, 3)`)
    expect(rows).toEqual([{ id: 2 }])
    expect(login.stats().tokensMade).toBe(1)
    await db.$client.end()
  })

  it('runs a transaction of copies and of replicated databases on the pool of the primary', async () => {
    const [primary, replica] = [server().login(), server().login()]
    const db = drizzleClient(primary, { connection: { max: 1 } })
    const replicated = withReplicas(db, [drizzleClient(replica)])
    for (const each of [replicated, Object.assign({}, db)]) {
      const rows = await drizzleTransaction(each, async (transaction) => {
        await transaction.execute(sql`SET TRANSACTION READ WRITE`)
        return (await transaction.execute(sql`SELECT 1 AS one`)).rows
      })
      expect(rows).toEqual([{ one: 1 }])
    }
    expect(primary.stats().connectionsOpened).toBe(1)
    expect(replica.stats().connectionsOpened).toBe(0)
    await db.$client.end()
  })

  it('rejects a call within a transaction of the same pool, with any database of that pool', async () => {
    const db = drizzleClient(server().login(), { connection: { max: 1 } })
    const nested = expect.objectContaining({ code: 'ERR_TRANSACTION_NESTED' }) as unknown
    const within = drizzleTransaction(db, () =>
      rejectionOf(drizzleTransaction(withReplicas(db, [db]), async () => 1)),
    )
    expect(await within).toEqual(nested)
    const own = db.transaction((transaction) =>
      rejectionOf(drizzleTransaction(transaction as never, async () => 1)),
    )
    expect(await own).toEqual(nested)
    await db.$client.end()
  })

  it('releases the connection if BEGIN fails, also with a database that Drizzle created on a pool', async () => {
    const login = server().login()
    const made = drizzle({ client: createPool(login, { max: 1 }) })
    const bad: object = { isolationLevel: 'none' }
    for (const db of [drizzleClient(login, { connection: { max: 1 } }), made]) {
      for (let time = 1; time <= 2; time++)
        expect(sqlStateOf(await rejectionOf(drizzleTransaction(db, async () => 1, bad)))).toBe(
          '42601',
        )
      expect((await db.execute(sql`SELECT 1 AS one`)).rows).toEqual([{ one: 1 }])
      const lent = await db.$client.connect()
      lent.release()
      await db.$client.end()
    }
  })

  it('rejects a copy without its methods', async () => {
    const copy = Object.assign({}, drizzle({ client: createPool(server().login()) }))
    expect(await rejectionOf(drizzleTransaction(copy as never, async () => 1))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
    })
  })

  it('rejects a connection string as connection', () => {
    const connection = 'postgres://app@db.example.com/shop' as never
    expect(() => drizzleClient(server().login(), { connection })).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION_INVALID' }),
    )
  })

  it("rejects the caller's own client, which would not use the login", () => {
    const config: object = { client: {} }
    expect(() => drizzleClient(server().login(), config)).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION_CONFLICT' }),
    )
  })
})
