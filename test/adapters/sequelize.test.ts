import { Sequelize, type Options } from 'sequelize'
import { sequelizeHook, sequelizeOptions } from '../../adapters/sequelize.js'
import type { PgIamErrorCode } from '../../core/index.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { errorChain, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { sequelizeDriver } from './drivers/sequelize.js'

describeAdapterContract(sequelizeDriver)

const opened: Sequelize[] = []

function keep(sequelize: Sequelize): Sequelize {
  opened.push(sequelize)
  return sequelize
}

afterEach(() => Promise.all(opened.splice(0).map((sequelize) => sequelize.close())))

describe('sequelizeOptions', () => {
  const server = useContractServer()

  const statementsOf = async (options: Options): Promise<string[]> => {
    const statements: string[] = []
    const sequelize = keep(
      new Sequelize(
        sequelizeOptions(server().login(), {
          ...options,
          logging: (line) => statements.push(line),
        }),
      ),
    )
    await sequelize.query('SELECT 1')
    return statements
  }

  it('saves the connection that Sequelize opens to ask for the version', async () => {
    const login = server().login()
    const sequelize = keep(new Sequelize(sequelizeOptions(login, { logging: false })))
    await sequelize.query('SELECT 1')
    expect(login.stats()).toMatchObject({ tokensMade: 1, connectionsOpened: 1 })
  })

  it('sends no SET of its own on a new connection', async () => {
    const statements = await statementsOf({})
    expect(statements.filter((line) => /\bSET\b/.test(line))).toEqual([])
  })

  it('leaves a time zone and a version that the caller names', async () => {
    const options = sequelizeOptions(server().login(), { timezone: '+02:00' })
    expect(options).not.toHaveProperty('keepDefaultTimezone')
    const version: object = { databaseVersion: '18.1.0' }
    expect(sequelizeOptions(server().login(), version)).toMatchObject(version)
  })

  it.each<[string, object, PgIamErrorCode]>([
    ['the native driver', { native: true }, 'ERR_OPTION_CONFLICT'],
    ['replication', { replication: { write: {}, read: [] } }, 'ERR_OPTION_CONFLICT'],
  ])('refuses %s', (_what, options, code) => {
    expect(() => sequelizeOptions(server().login(), options)).toThrow(
      expect.objectContaining({ code }),
    )
  })
})

describe('sequelizeHook', () => {
  const server = useContractServer()

  it('works when it is added to an instance later', async () => {
    const sequelize = keep(new Sequelize({ dialect: 'postgres', logging: false }))
    sequelize.addHook('beforeConnect', sequelizeHook(server().login()))
    const [rows] = await sequelize.query('SELECT current_user AS role')
    expect(rows).toEqual([{ role: 'app' }])
  })

  it('gives a token to the connection, too, that Sequelize opens to ask for the version', async () => {
    const login = server().login()
    const hooks = { beforeConnect: sequelizeHook(login) }
    const sequelize = keep(new Sequelize({ dialect: 'postgres', logging: false, hooks }))
    await sequelize.query('SELECT 1')
    expect(login.stats()).toMatchObject({ tokensMade: 2, connectionsOpened: 2 })
  })

  it('goes where the login says, whatever a URL says', async () => {
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
  ])('refuses a URL with %s', async (_what, url, code) => {
    const login = server().login()
    const hooks = { beforeConnect: sequelizeHook(login) }
    const sequelize = keep(new Sequelize(url, { logging: false, hooks }))
    const error = await rejectionOf(sequelize.query('SELECT 1'))
    expect(errorChain(error)).toContainEqual(expect.objectContaining({ code }))
    expect(login.stats().tokensMade).toBe(0)
  })

  it('refuses again at the next connection', async () => {
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
