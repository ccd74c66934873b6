/** pg for the tests. */
import { Pool, type ClientBase, type PoolConfig } from 'pg'
import { createPool, pgConfig, pgTransaction } from '../../adapters/pg.js'
import type {
  Client,
  ClientEntry,
  HeldConnection,
  OpenClient,
  OpenSettings,
  Refusal,
  Statements,
} from './client.js'

export const pgRefusals: Refusal[] = [
  { what: 'a password', options: { password: 'secret' }, code: 'ERR_OPTION_CONFLICT' },
  {
    what: 'a password function',
    options: { password: () => 'secret' },
    code: 'ERR_OPTION_CONFLICT',
  },
  {
    what: 'a connection string',
    options: { connectionString: 'postgres://app@db.example.com/shop' },
    code: 'ERR_OPTION_CONFLICT',
  },
  { what: 'another host', options: { host: 'db.example.com' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another port', options: { port: 6543 }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another user', options: { user: 'admin' }, code: 'ERR_OPTION_CONFLICT' },
  { what: 'another database', options: { database: 'shop' }, code: 'ERR_OPTION_CONFLICT' },
  {
    what: 'a socket of its own',
    options: { stream: () => undefined },
    code: 'ERR_OPTION_CONFLICT',
  },
  { what: 'ssl: false', options: { ssl: false }, code: 'ERR_TLS_UNVERIFIED' },
  {
    what: 'rejectUnauthorized: false',
    options: { ssl: { rejectUnauthorized: false } },
    code: 'ERR_TLS_UNVERIFIED',
  },
  {
    what: 'a server identity check of its own',
    options: { ssl: { checkServerIdentity: () => undefined } },
    code: 'ERR_TLS_UNVERIFIED',
  },
  {
    what: 'another name in the certificate',
    options: { ssl: { servername: 'db.example.com' } },
    code: 'ERR_OPTION_CONFLICT',
  },
]

const entry = {
  options: poolOptions,
  refusesAt: 'construction',
  refusals: pgRefusals,
  own: 'none',
  retiresIdle: true,
  takesAgedBack: true,
  reopensEarly: false,
} as const satisfies Partial<ClientEntry<PoolConfig>>

export const client: Client = {
  name: 'pg',
  entries: [
    {
      ...entry,
      name: 'createPool',
      open: (login, options) => openPool(createPool(login, options)),
    },
    {
      ...entry,
      name: 'pgConfig',
      open: (login, options) => {
        const pool = new Pool(pgConfig(login, options))
        // As pg's documentation recommends for every pool.
        pool.on('error', () => {})
        return openPool(pool)
      },
    },
  ],
}

export function poolOptions({ poolSize, log }: OpenSettings): PoolConfig {
  return {
    max: poolSize,
    application_name: 'contract',
    log: (...messages: unknown[]) => log(messages.map(String).join(' ')),
  }
}

export function openPool(pool: Pool): OpenClient {
  return {
    ...statementsOn(pool),
    transaction: (work, { isolation, ...retry } = {}) =>
      pgTransaction(pool, (lent) => work({ ...statementsOn(lent), own: lent }), {
        ...(isolation === undefined ? {} : { isolationLevel: isolation }),
        ...retry,
      }),
    async ownTransaction(work) {
      const lent = await pool.connect()
      try {
        await lent.query('BEGIN')
        const result = await work({ ...statementsOn(lent), own: lent })
        await lent.query('COMMIT')
        return result
      } catch (error) {
        await lent.query('ROLLBACK')
        throw error
      } finally {
        lent.release()
      }
    },
    hold: () => holdClient(pool),
    close: () => pool.end(),
    objects: [pool, pool.options],
  }
}

export async function holdClient(pool: Pool): Promise<HeldConnection> {
  const lent = await pool.connect()
  return { run: statementsOn(lent).run, release: async () => lent.release() }
}

function statementsOn(target: Pool | ClientBase): Statements {
  return {
    run: async (text) => (await target.query<Record<string, unknown>>(text)).rows,
    addNote: async (id, body) => {
      await target.query('INSERT INTO note (id, body) VALUES ($1, $2)', [id, body])
    },
    findNote: async (id) => {
      const { rows } = await target.query<{ body: string }>({
        name: 'find-note',
        text: 'SELECT body FROM note WHERE id = $1',
        values: [id],
      })
      return rows[0]?.body
    },
  }
}
