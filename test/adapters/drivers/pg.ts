/** Runs pg in the contract tests. */
import { Pool, type ClientBase, type PoolConfig } from 'pg'
import { createPool, pgConfig } from '../../../adapters/pg.js'
import type {
  AdapterDriver,
  AdapterVariant,
  Database,
  DriverSettings,
  Refusal,
  Statements,
} from '../../support/adapter-contract/adapter-driver.js'

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

const poolVariant: AdapterVariant<PoolConfig> = {
  name: 'createPool',
  options: poolOptions,
  open: (login, options) => poolDatabase(createPool(login, options)),
  refusesAt: 'construction',
  refusals: pgRefusals,
}

const configVariant: AdapterVariant<PoolConfig> = {
  name: 'pgConfig',
  options: poolOptions,
  open: (login, options) => {
    const pool = new Pool(pgConfig(login, options))
    // As pg's documentation recommends for every pool.
    pool.on('error', () => {})
    return poolDatabase(pool)
  },
  refusesAt: 'construction',
  refusals: pgRefusals,
}

export const pgDriver: AdapterDriver = { client: 'pg', variants: [poolVariant, configVariant] }

export function poolOptions({ poolSize, log }: DriverSettings): PoolConfig {
  return {
    max: poolSize,
    application_name: 'contract',
    log: (...messages: unknown[]) => log(messages.map(String).join(' ')),
  }
}

function poolDatabase(pool: Pool): Database {
  return {
    ...statementsOn(pool),
    async transaction(work) {
      const client = await pool.connect()
      try {
        await client.query('BEGIN')
        await work(statementsOn(client))
        await client.query('COMMIT')
      } catch (error) {
        await client.query('ROLLBACK')
        throw error
      } finally {
        client.release()
      }
    },
    close: () => pool.end(),
    objects: [pool, pool.options],
  }
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
