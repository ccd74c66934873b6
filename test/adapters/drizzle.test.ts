import { eq, sql } from 'drizzle-orm'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { drizzleClient } from '../../adapters/drizzle.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { rejectionOf } from '../support/adapter-contract/error-chain.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { drizzleDriver } from './drivers/drizzle.js'

describeAdapterContract(drizzleDriver)

const note = pgTable('note', { id: integer().primaryKey(), body: text() })

describe('drizzleClient on pg', () => {
  const server = useContractServer()

  it('takes a schema for relational queries', async () => {
    const db = drizzleClient(server().login(), { schema: { note } })
    await db.insert(note).values({ id: 1, body: 'one' })
    expect(await db.query.note.findFirst({ where: eq(note.id, 1) })).toEqual({ id: 1, body: 'one' })
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

  it('refuses a connection string as connection', () => {
    const connection = 'postgres://app@db.example.com/shop' as never
    expect(() => drizzleClient(server().login(), { connection })).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION_INVALID' }),
    )
  })

  it('refuses a client of the caller, which would log in in its own way', () => {
    const config: object = { client: {} }
    expect(() => drizzleClient(server().login(), config)).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION_CONFLICT' }),
    )
  })
})
