import { type Options, Sequelize } from 'sequelize'
import { sequelizeHook, sequelizeOptions } from '../../adapters/sequelize.js'
import { createPool } from '../../adapters/pg.js'
import type { Login, PgIamErrorCode } from '../../core/index.js'
import { rdsContract } from '../support/adapter-contract/providers/rds.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { errorChain, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { client } from '../clients/sequelize.js'

describeAdapterContract(client)

const opened: Sequelize[] = []

function keep(sequelize: Sequelize): Sequelize {
  opened.push(sequelize)
  return sequelize
}

afterEach(() => Promise.all(opened.splice(0).map((sequelize) => sequelize.close())))

describe('sequelizeOptions', () => {
  const server = useContractServer()

  it('avoids the connection that Sequelize opens to query the version', async () => {
    const login = server().login()
    const sequelize = keep(new Sequelize(sequelizeOptions(login, { logging: false })))
    await sequelize.query('SELECT 1')
    expect(login.stats()).toMatchObject({ tokensMade: 1, connectionsOpened: 1 })
  })

  it("keeps the caller's time zone and version", async () => {
    const options = sequelizeOptions(server().login(), { timezone: '+02:00' })
    expect(options).not.toHaveProperty('keepDefaultTimezone')
    const version: object = { databaseVersion: '18.1.0' }
    expect(sequelizeOptions(server().login(), version)).toMatchObject(version)
  })

  it.each<[string, object, PgIamErrorCode]>([
    ['the native driver', { native: true }, 'ERR_OPTION_CONFLICT'],
    ['another dialect', { dialect: 'mysql' }, 'ERR_OPTION_CONFLICT'],
    ['replication', { replication: { write: {}, read: [] } }, 'ERR_OPTION_CONFLICT'],
  ])('rejects %s', (_what, options, code) => {
    expect(() => sequelizeOptions(server().login(), options)).toThrow(
      expect.objectContaining({ code }),
    )
  })
})

describe('PGSSLNEGOTIATION=direct, which pg reads and Sequelize cannot override', () => {
  const server = useContractServer()

  it('is rejected with the option to set instead', async () => {
    process.env['PGSSLNEGOTIATION'] = 'direct'
    try {
      const error: unknown = await Promise.resolve()
        .then(() => sequelizeOptions(server().login()))
        .catch((cause: unknown) => cause)
      expect(error).toMatchObject({
        code: 'ERR_OPTION_CONFLICT',
        hint: expect.stringContaining("tls: { negotiation: 'direct' }"),
      })
    } finally {
      delete process.env['PGSSLNEGOTIATION']
    }
  })
})

describe.each<[string, (login: Login, options: Options) => Sequelize]>([
  ['sequelizeOptions', (login, options) => new Sequelize(sequelizeOptions(login, options))],
  [
    'sequelizeHook',
    (login, options) => {
      const hooks = { beforeConnect: sequelizeHook(login) }
      return new Sequelize({ dialect: 'postgres', ...options, hooks })
    },
  ],
])('the session of %s', (_entry, open) => {
  const dsql = useContractServer()
  const amazonRds = useContractServer('PostgreSQL', rdsContract)

  const sessionOf = async (login: Login, options: Options = {}): Promise<unknown> => {
    const sequelize = keep(open(login, { logging: false, ...options }))
    const [[row]] = await sequelize.query(
      "SELECT current_setting('client_min_messages') AS level, current_setting('timezone') AS zone",
    )
    return row
  }

  it('is not changed on Aurora DSQL, which rejects SET client_min_messages', async () => {
    const login = dsql().login()
    const asServed = (await untouchedSession(login)) as { zone: string }
    expect(asServed).toMatchObject({ level: 'notice' })
    expect(await sessionOf(login)).toEqual(asServed)
    const none: Options = { dialectOptions: { clientMinMessages: 'IGNORE' } }
    expect(await sessionOf(login, none)).toEqual(asServed)
    expect(await sessionOf(login, { clientMinMessages: false })).toEqual(asServed)
  })

  it('is set up by Sequelize for any other database', async () => {
    jest.spyOn(console, 'warn').mockImplementation(() => {})
    const login = amazonRds().providerLogin()
    const zone = '<+00>-00'
    expect(await sessionOf(login)).toEqual({ level: 'warning', zone })
    const given: Options = { dialectOptions: { clientMinMessages: 'error' } }
    expect(await sessionOf(login, given)).toEqual({ level: 'error', zone })
    expect(await sessionOf(login, { clientMinMessages: 'log' })).toEqual({ level: 'log', zone })
    expect(await sessionOf(login, { clientMinMessages: false })).toEqual({ level: 'notice', zone })
    expect(await sessionOf(login, { timezone: 'Europe/Berlin' })).toMatchObject({
      zone: 'Europe/Berlin',
    })
  })

  it("has the caller's time zone, also on Aurora DSQL", async () => {
    expect(await sessionOf(dsql().login(), { timezone: 'Europe/Berlin' })).toEqual({
      level: 'notice',
      zone: 'Europe/Berlin',
    })
  })

  it.each<[string, Options]>([
    ['clientMinMessages', { clientMinMessages: 'warning' }],
    ['dialectOptions.clientMinMessages', { dialectOptions: { clientMinMessages: 'notice' } }],
  ])('rejects "%s" for Aurora DSQL', async (name, options) => {
    const login = dsql().login()
    // `sequelizeOptions` throws immediately, the hook at the first connection.
    const error = await rejectionOf((async () => sessionOf(login, options))())
    expect(errorChain(error)).toContainEqual(
      expect.objectContaining({
        code: 'ERR_OPTION_CONFLICT',
        message: expect.stringContaining(name.split('.').at(-1)!) as unknown,
      }),
    )
    expect(login.stats().tokensMade).toBe(0)
  })
})

/** The settings of an unchanged session. */
async function untouchedSession(login: Login): Promise<unknown> {
  const pool = createPool(login, { max: 1 })
  const { rows } = await pool.query<object>(
    "SELECT current_setting('client_min_messages') AS level, current_setting('timezone') AS zone",
  )
  await pool.end()
  return rows[0]
}

describe('sequelizeHook', () => {
  const server = useContractServer()

  it('rejects another dialect', async () => {
    const login = server().login()
    const hook = sequelizeHook(login)
    const mysql = { options: { dialect: 'mysql' } }
    expect(() => hook.call(mysql, {})).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION_CONFLICT' }),
    )
  })

  it('works if it is added to an instance later', async () => {
    const sequelize = keep(new Sequelize({ dialect: 'postgres', logging: false }))
    sequelize.addHook('beforeConnect', sequelizeHook(server().login()))
    const [rows] = await sequelize.query('SELECT current_user AS role')
    expect(rows).toEqual([{ role: 'app' }])
  })

  it('is also used for the connection that Sequelize opens to query the version', async () => {
    const login = server().login()
    const hooks = { beforeConnect: sequelizeHook(login) }
    const sequelize = keep(new Sequelize({ dialect: 'postgres', logging: false, hooks }))
    await sequelize.query('SELECT 1')
    expect(login.stats()).toMatchObject({ tokensMade: 2, connectionsOpened: 2 })
  })

  it("connects to the login's address, whatever a URL contains", async () => {
    const hooks = { beforeConnect: sequelizeHook(server().login()) }
    const url = 'postgres://admin@db.example.com:6543/shop'
    const sequelize = keep(new Sequelize(url, { logging: false, hooks }))
    const [rows] = await sequelize.query('SELECT current_user AS role, current_database() AS name')
    expect(rows).toEqual([{ role: 'app', name: 'postgres' }])
  })

  it.each<[string, string, PgIamErrorCode]>([
    ['a password', 'postgres://app:secret@db.example.com/shop', 'ERR_OPTION_CONFLICT'],
    ['sslmode=disable', 'postgres://app@db.example.com/shop?sslmode=disable', 'ERR_TLS_UNVERIFIED'],
    [
      'sslmode=no-verify',
      'postgres://app@db.example.com/shop?sslmode=no-verify',
      'ERR_TLS_UNVERIFIED',
    ],
    ['ssl=false', 'postgres://app@db.example.com/shop?ssl=false', 'ERR_TLS_UNVERIFIED'],
  ])('rejects a URL with %s', async (_what, url, code) => {
    const login = server().login()
    const hooks = { beforeConnect: sequelizeHook(login) }
    const sequelize = keep(new Sequelize(url, { logging: false, hooks }))
    const error = await rejectionOf(sequelize.query('SELECT 1'))
    expect(errorChain(error)).toContainEqual(expect.objectContaining({ code }))
    expect(login.stats().tokensMade).toBe(0)
  })

  it('rejects the next connection, too', async () => {
    const hooks = { beforeConnect: sequelizeHook(server().login()) }
    const options = { dialect: 'postgres', password: 'secret', logging: false, hooks } as const
    const sequelize = keep(new Sequelize(options))
    for (let time = 1; time <= 2; time++) {
      const error = await rejectionOf(sequelize.query('SELECT 1'))
      expect(errorChain(error)).toContainEqual(
        expect.objectContaining({ code: 'ERR_OPTION_CONFLICT' }),
      )
    }
  })
})
