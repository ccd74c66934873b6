import type { TLSSocket } from 'node:tls'
import type { Sql } from 'postgres'
import { createSql, sqlTransaction } from '../../adapters/postgres-js.js'
import {
  AUTHENTICATION_OK,
  GREETING,
  READY,
  errorResponse,
  message,
} from '../core/support/backend-messages.js'
import { createByteReader } from '../core/support/byte-reader.js'
import { receiveLogin, startStandIn, type StandIn } from '../core/support/postgres-stand-in.js'
import { codesOf, rejectionOf } from '../support/adapter-contract/error-chain.js'

const BEGUN = Buffer.concat([message('C', 'BEGIN\0'), message('Z', 'T')])
const DONE = Buffer.concat([message('C', 'SELECT 0\0'), READY])
const TYPES = Buffer.concat([
  message('1'),
  message('t', Buffer.alloc(2)),
  message('n'),
  message('2'),
  DONE,
])
const DUPLICATE = message('E', 'SERROR\0VERROR\0C23505\0Mduplicate key\0\0')
const KILLED = errorResponse('57P01', 'terminating connection due to administrator command')

/** The server's reply to a statement. If the reply ends the connection, the server closes it. */
type Answer = (statement: string) => Buffer

let standIn: StandIn
let sql: Sql
/** All statements, each with the number of its connection. */
let heard: string[]

async function start(answer: Answer, { isKilledAtFirst = false } = {}): Promise<void> {
  let connections = 0
  heard = []
  standIn = await startStandIn(async (socket, keys) => {
    const connection = connections++
    const { socket: secured } = await receiveLogin(socket, keys)
    const isKilled = isKilledAtFirst && connection === 0
    secured.write(Buffer.concat([AUTHENTICATION_OK, GREETING, ...(isKilled ? [KILLED] : [])]))
    if (isKilled) secured.end()
    await converse(secured, (statement) => {
      heard.push(`${connection}: ${statement}`)
      return answer(statement)
    })
  })
  sql = createSql(standIn.login(), { max: 1, fetch_types: isKilledAtFirst, backoff: () => 0 })
}

/** Answers simple queries, and the one for types. */
async function converse(socket: TLSSocket, answer: Answer): Promise<void> {
  const reader = createByteReader(socket)
  for (;;) {
    const request = await reader.message()
    const type = request.toString('latin1', 0, 1)
    if (type === 'S') socket.write(TYPES)
    if (type !== 'Q') continue
    const reply = answer(request.toString('utf8', 5).replace(/\0$/, '').trim())
    socket.write(reply)
    if (reply.includes('57P01') || !reply.includes(READY.subarray(0, 5))) socket.end()
  }
}

afterEach(async () => {
  await sql.end({ timeout: 1 })
  await standIn.close()
})

describe('a connection that ends right after the reply to BEGIN', () => {
  it('runs no statement of the transaction on another connection, and does not end the process', async () => {
    let isKilled = false
    await start((statement) => {
      if (statement !== 'begin' || isKilled) return statement === 'begin' ? BEGUN : DONE
      isKilled = true
      return Buffer.concat([BEGUN, KILLED])
    })
    const waiting = new Promise<unknown>((resolve) => {
      const run = sqlTransaction(sql, async (transaction) => {
        // Another query waits for the slot, which reconnects for it.
        resolve(sql.unsafe('SELECT 1'))
        await transaction.unsafe('UPDATE account SET balance = 0')
      })
      void rejectionOf(run).then((error) => expect(codesOf(error)).toContain('57P01'))
    })
    await waiting
    await sql.unsafe('SELECT 2')
    expect(heard.filter((statement) => /UPDATE/.test(statement))).toEqual([])
    expect(heard).toEqual(['0: begin', '1: SELECT 1', '1: SELECT 2'])
  })
})

describe('a connection that ends right after its login', () => {
  it('fails the query, and does not end the process', async () => {
    await start(() => DONE, { isKilledAtFirst: true })
    expect(codesOf(await rejectionOf(sql.unsafe('SELECT 1')))).toContain('57P01')
    await sql.unsafe('SELECT 2')
    expect(heard.at(-1)).toBe('1: SELECT 2')
  })
})

describe('a connection that ends between an ErrorResponse and its ReadyForQuery', () => {
  it('does not fail a query on another connection with that error', async () => {
    await start((statement) => (statement === 'INSERT' ? DUPLICATE : DONE))
    expect(codesOf(await rejectionOf(sql.unsafe('INSERT')))).toContain('23505')
    await sql.unsafe('SELECT 1')
    expect(heard).toEqual(['0: INSERT', '1: SELECT 1'])
  })

  it('does not fail it either if the server sends a FATAL error in between', async () => {
    const answer = Buffer.concat([DUPLICATE, KILLED])
    await start((statement) => (statement === 'INSERT' ? answer : DONE))
    expect(codesOf(await rejectionOf(sql.unsafe('INSERT')))).toContain('23505')
    await sql.unsafe('SELECT 1')
    expect(heard).toEqual(['0: INSERT', '1: SELECT 1'])
  })
})
