/** Opens pg for the resilience tests. */
import { Pool, type ClientBase } from 'pg'
import { createPool, pgConfig, pgTransaction } from '../../../adapters/pg.js'
import type { HeldConnection, OpenClient, ResilientClient, Statements } from './resilient-client.js'

export const client: ResilientClient = {
  name: 'pg',
  entries: [
    {
      name: 'createPool',
      open: (login, { poolSize }) => openPool(createPool(login, { max: poolSize })),
      own: 'none',
      retiresIdle: true,
      takesAgedBack: true,
      reopensEarly: false,
    },
    {
      name: 'pgConfig',
      open: (login, { poolSize }) => {
        const pool = new Pool(pgConfig(login, { max: poolSize }))
        // As pg's documentation recommends for every pool.
        pool.on('error', () => {})
        return openPool(pool)
      },
      own: 'none',
      retiresIdle: true,
      takesAgedBack: true,
      reopensEarly: false,
    },
  ],
}

function openPool(pool: Pool): OpenClient {
  return {
    ...statementsOn(pool),
    transaction: (work, { isolation, ...retry } = {}) =>
      pgTransaction(pool, (lent) => work({ ...statementsOn(lent), own: lent }), {
        ...(isolation === undefined ? {} : { isolationLevel: isolation }),
        ...retry,
      }),
    hold: () => holdClient(pool),
    close: () => pool.end(),
  }
}

export async function holdClient(pool: Pool): Promise<HeldConnection> {
  const lent = await pool.connect()
  return { run: statementsOn(lent).run, release: async () => lent.release() }
}

function statementsOn(target: Pool | ClientBase): Statements {
  return {
    run: async (text) => (await target.query<Record<string, unknown>>(text)).rows,
    insert: async (id) => {
      await target.query('INSERT INTO note VALUES ($1)', [id])
    },
  }
}
