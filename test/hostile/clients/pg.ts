/** Opens pool and client of pg for the hostile servers. */
import { text } from 'node:stream/consumers'
import { Client, Pool, type ClientBase, type PoolClient, type PoolConfig } from 'pg'
import { to } from 'pg-copy-streams'
import { createClient, createPool, pgTransaction } from '../../../adapters/pg.js'
import {
  COPY_TEXT,
  EXTENDED_TEXT,
  simpleText,
  valueOf,
  type BareLogin,
  type HostileClient,
  type OpenHostileClient,
} from './hostile-client.js'

export const pool: HostileClient = {
  name: 'pg',
  asksForTypes: false,
  describesFirst: false,
  leavesFailedStart: false,
  openOurs: (login) => openPool(createPool(login, { max: 1 }), { isOurs: true }),
  openBare: (login, connectTimeoutMs) => openPool(barePool(login, connectTimeoutMs)),
}

/** A client has one connection. After it has failed or ended, a new client is created. */
export const client: HostileClient = {
  name: 'pg-client',
  asksForTypes: false,
  describesFirst: false,
  leavesFailedStart: false,
  openOurs: (login) => openClients(() => createClient(login)),
  openBare: (login, connectTimeoutMs) =>
    openClients(() => {
      const bare = new Client(bareConfig(login, connectTimeoutMs))
      bare.on('error', () => {})
      return bare
    }),
}

export function bareConfig(
  { isDirect, ssl, ...login }: BareLogin,
  connectTimeoutMs: number,
): PoolConfig {
  return {
    ...login,
    ssl: { ...ssl },
    connectionTimeoutMillis: connectTimeoutMs,
    ...(isDirect ? { sslnegotiation: 'direct' } : {}),
  } as PoolConfig
}

/** It has error listeners, as pg's documentation requires for pools. */
export function barePool(login: BareLogin, connectTimeoutMs: number): Pool {
  const bare = new Pool({ ...bareConfig(login, connectTimeoutMs), max: 1 })
  bare.on('error', () => {})
  bare.on('connect', (connected) => connected.on('error', () => {}))
  return bare
}

function openPool(opened: Pool, { isOurs = false } = {}): OpenHostileClient {
  return {
    ...statementsOn(opened),
    transaction: (word) =>
      isOurs
        ? pgTransaction(opened, (lent) => statementsOn(lent).simple(word))
        : withClient(opened, (lent) => inTransaction(lent, word)),
    copy: () => withClient(opened, copyFrom),
    close: () => opened.end(),
  }
}

async function withClient<T>(opened: Pool, work: (lent: PoolClient) => Promise<T>): Promise<T> {
  const lent = await opened.connect()
  try {
    const result = await work(lent)
    lent.release()
    return result
  } catch (error) {
    lent.release(true)
    throw error
  }
}

function openClients(create: () => Client): OpenHostileClient {
  let current: Promise<Client> | undefined
  const run = async <T>(work: (connected: Client) => Promise<T>): Promise<T> => {
    if (current === undefined) {
      const created = create()
      const connecting = connect(created)
      current = connecting
      created.once('end', () => {
        if (current === connecting) current = undefined
      })
    }
    const used = current
    try {
      return await work(await used)
    } catch (error) {
      if (current === used) current = undefined
      used.then((connected) => connected.end()).catch(() => {})
      throw error
    }
  }
  return {
    simple: (word) => run((connected) => statementsOn(connected).simple(word)),
    extended: (word) => run((connected) => statementsOn(connected).extended(word)),
    transaction: (word) => run((connected) => inTransaction(connected, word)),
    copy: () => run(copyFrom),
    close: async () => {
      const connected = await current?.catch(() => undefined)
      await connected?.end()
    },
  }
}

async function connect(created: Client): Promise<Client> {
  await created.connect()
  return created
}

/** As an application would write it. */
async function inTransaction(target: ClientBase, word: string): Promise<unknown> {
  await target.query('BEGIN')
  try {
    const result = await statementsOn(target).simple(word)
    await target.query('COMMIT')
    return result
  } catch (error) {
    await target.query('ROLLBACK').catch(() => {})
    throw error
  }
}

async function copyFrom(target: ClientBase): Promise<unknown> {
  return text(target.query(to(COPY_TEXT)))
}

function statementsOn(target: Pool | ClientBase): Pick<OpenHostileClient, 'simple' | 'extended'> {
  return {
    simple: async (word) => valueOf((await target.query<{ v: string }>(simpleText(word))).rows),
    extended: async (word) => valueOf((await target.query(EXTENDED_TEXT, [word])).rows),
  }
}
