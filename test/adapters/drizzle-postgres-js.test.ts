import { sql } from 'drizzle-orm'
import { integer, pgTable, timestamp, withReplicas } from 'drizzle-orm/pg-core'
import { drizzleClient, drizzleTransaction } from '../../adapters/drizzle-postgres-js.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { client } from '../clients/drizzle-postgres-js.js'
import { note } from './drizzle-tables.js'
import { withId, withTable } from './relational-queries.js'

describeAdapterContract(client)

const event = pgTable('event', {
  id: integer().primaryKey(),
  at: timestamp({ withTimezone: true }),
})

describe('drizzleClient on Postgres.js', () => {
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

  it('writes and reads dates, for which Drizzle changes the given client', async () => {
    const db = drizzleClient(server().login())
    const at = new Date('2026-11-22T12:34:56.789Z')
    await db.execute('CREATE TABLE event (id int PRIMARY KEY, at timestamptz)')
    await db.insert(event).values({ id: 1, at })
    expect(await db.select().from(event)).toEqual([{ id: 1, at }])
    await db.$client.end()
  })

  it('runs a transaction of copies and of replicated databases on the client of the primary', async () => {
    const [primary, replica] = [server().login(), server().login()]
    const db = drizzleClient(primary, { connection: { max: 1 } })
    const other = drizzleClient(replica)
    for (const each of [withReplicas(db, [other]), Object.assign({}, db)]) {
      const rows = await drizzleTransaction(each, (transaction) =>
        transaction.execute(sql`SELECT 1 AS one`),
      )
      expect([...rows]).toEqual([{ one: 1 }])
    }
    expect(primary.stats().connectionsOpened).toBe(1)
    expect(replica.stats().connectionsOpened).toBe(0)
    await Promise.all([db, other].map(({ $client }) => $client.end()))
  })

  it('rejects a URL as connection', () => {
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
