import knex, { type Knex } from 'knex'
import { knexConfig, knexConnection } from '../../adapters/knex.js'
import { atOnce } from '../support/adapter-contract/contract-context.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { eventually } from '../support/eventually.js'
import { fakeDate } from '../support/adapter-contract/fake-date.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { withEnvironment } from '../support/environment.js'
import { client } from '../clients/knex.js'

describeAdapterContract(client)

const HOUR_MS = 3_600_000

/** Otherwise Knex logs lost connections to the console. */
const log = { warn() {}, error() {} }

describe('knexConnection', () => {
  const server = useContractServer()

  it('returns a function that Knex calls once, and that is valid for any number of tokens', async () => {
    const putForward = fakeDate()
    const { loginsRefused } = server().gateway.stats()
    const login = server().login({ tokenDurationSecs: 60, maxLifetimeSecs: 604_800 })
    let asked = 0
    const connect = knexConnection(login)
    const connection = () => {
      asked++
      return connect()
    }
    const db = knex({ client: 'pg', connection, log, pool: { min: 0, max: 1 } })
    try {
      for (let round = 1; round <= 10; round++) {
        await atOnce(6, () => db.raw('SELECT 1'))
        expect(login.stats()).toMatchObject({ tokensMade: round, connectionsOpen: 1 })
        await server().endSessions()
        await eventually('the end of all connections', () => login.stats().connectionsOpen === 0)
        putForward(HOUR_MS)
      }
      expect(asked).toBe(1)
      expect(server().gateway.stats().loginsRefused).toBe(loginsRefused)
    } finally {
      await db.destroy()
      jest.useRealTimers()
    }
  })

  it('keeps connections whose tokens have expired', async () => {
    const putForward = fakeDate()
    const login = server().login({ tokenDurationSecs: 60, maxLifetimeSecs: 604_800 })
    const pool = { min: 0, max: 3, idleTimeoutMillis: 24 * HOUR_MS }
    const db = knex({ client: 'pg', connection: knexConnection(login), log, pool })
    try {
      await atOnce(6, () => db.raw('SELECT 1'))
      await eventually('three connections', () => login.stats().connectionsOpen === 3)
      putForward(HOUR_MS)
      await atOnce(6, () => db.raw('SELECT 1'))
      expect(login.stats()).toMatchObject({ tokensMade: 3, connectionsOpen: 3 })
    } finally {
      await db.destroy()
      jest.useRealTimers()
    }
  })

  it('returns settings that do not expire', async () => {
    const settings = await knexConnection(server().login())()
    expect(settings).not.toHaveProperty('expirationChecker')
    expect(settings).not.toHaveProperty('password')
  })
})

/** The class of a Knex client. Without a connection it loads no driver. */
function clientOf(name: string): typeof Knex.Client {
  return (knex({ client: name }).client as { constructor: typeof Knex.Client }).constructor
}

describe('knexConfig', () => {
  const server = useContractServer()

  it.each(['pg', 'postgres', 'postgresql', 'redshift', 'cockroachdb'])(
    'accepts the client %s, a dialect on pg',
    async (client) => {
      const config = knexConfig(server().login(), { client })
      expect(config).toMatchObject({ client })
      await withKnex(config, async (db) => {
        expect(await db.select(db.raw('1 AS one'))).toEqual([{ one: 1 }])
      })
      await withKnex(
        knexConfig(server().login(), { dialect: client } as Knex.Config),
        async (db) => {
          expect((db.client as object).constructor.name).toBe(
            (knex({ client }).client as object).constructor.name,
          )
          expect(await db.select(db.raw('1 AS one'))).toEqual([{ one: 1 }])
        },
      )
    },
  )

  it("accepts an application's class that extends one of Knex's pg clients", async () => {
    for (const name of ['postgres', 'redshift', 'cockroachdb']) {
      const Base = clientOf(name)
      class Own extends Base {}
      await withKnex(knexConfig(server().login(), { client: Own }), async (db) => {
        expect(await db.select(db.raw('1 AS one'))).toEqual([{ one: 1 }])
      })
    }
  })

  it('rejects clients that do not connect with pg, by name or as a class', () => {
    const [Native, MySql] = [clientOf('pgnative'), clientOf('mysql2')] as const
    class OwnNative extends Native {}
    for (const client of ['pgnative', 'mysql2', 'pg-native', Native, OwnNative, MySql]) {
      expect(() => knexConfig(server().login(), { client })).toThrow(
        expect.objectContaining({
          code: 'ERR_OPTION_CONFLICT',
          message: expect.stringMatching(
            /^"client" must be "pg" with a login, or a dialect based on it/,
          ),
          hint: expect.stringContaining('redshift'),
        }),
      )
    }
    expect(() => knexConfig(server().login(), { dialect: 'mysql2' } as Knex.Config)).toThrow(
      '"dialect" must be "pg"',
    )
  })

  it('passes on the other options of Knex', async () => {
    const config = knexConfig(server().login(), {
      searchPath: ['pg_temp', 'public'],
      connection: { application_name: 'passed on' },
    })
    await withKnex(config, async (db) => {
      const { rows } = await db.raw<{ rows: unknown[] }>(
        "SELECT current_setting('search_path') AS path, current_setting('application_name') AS name",
      )
      expect(rows).toEqual([{ path: 'pg_temp, public', name: 'passed on' }])
    })
  })

  it.each([
    { PGSSLMODE: 'disable' },
    { PGSSLMODE: 'no-verify' },
    { PGSSLNEGOTIATION: 'direct' },
    { PGPASSWORD: 'from the environment', PGUSER: 'admin', PGHOST: 'nowhere.example' },
  ])('ignores the environment %j', async (variables) => {
    const config = knexConfig(server().login())
    await withEnvironment(variables, () =>
      withKnex(config, async (db) => {
        const { rows } = await db.raw<{ rows: unknown[] }>('SELECT current_user AS role')
        expect(rows).toEqual([{ role: 'app' }])
      }),
    )
  })

  it('changes the schema and inserts in batches', async () => {
    await withKnex(knexConfig(server().login()), async (db) => {
      await db.schema.createTable('streamed', (table) => table.integer('id').primary())
      await db.batchInsert(
        'streamed',
        Array.from({ length: 500 }, (_, id) => ({ id })),
      )
      const ids = await db('streamed').orderBy('id').pluck<number[]>('id')
      expect(ids).toHaveLength(500)
      await db.schema.dropTable('streamed')
    })
  })
})

async function withKnex(config: Knex.Config, work: (db: Knex) => Promise<void>): Promise<void> {
  const db = knex(config)
  try {
    await work(db)
  } finally {
    await db.destroy()
  }
}
