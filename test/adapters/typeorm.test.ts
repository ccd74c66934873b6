import { DataSource, type DataSourceOptions } from 'typeorm'
import {
  type TypeormLoginOptions,
  typeormOptions,
  typeormPassword,
} from '../../adapters/typeorm.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { errorChain, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { eventually } from '../support/eventually.js'
import { fakeDate } from '../support/adapter-contract/fake-date.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { withEnvironment } from '../support/environment.js'
import { client } from '../clients/typeorm.js'

describeAdapterContract(client)

const opened: DataSource[] = []

async function initialize(options: DataSourceOptions): Promise<DataSource> {
  const dataSource = new DataSource(options)
  await dataSource.initialize()
  opened.push(dataSource)
  return dataSource
}

afterEach(async () => {
  jest.useRealTimers()
  await Promise.all(opened.splice(0).map((dataSource) => dataSource.destroy()))
})

describe('typeormOptions', () => {
  const server = useContractServer()

  it.each(['mysql', 'cockroachdb', 'aurora-postgres', '', null])(
    'rejects the database type %j, which it would otherwise replace with PostgreSQL',
    (type) => {
      const options = { type } as unknown as TypeormLoginOptions
      expect(() => typeormOptions(server().login(), options)).toThrow(
        expect.objectContaining({
          code: 'ERR_OPTION_CONFLICT',
          message: expect.stringMatching(/^"type" must be "postgres" with a login, got /),
        }),
      )
      expect(typeormOptions(server().login(), { type: 'postgres' }).type).toBe('postgres')
    },
  )

  it('passes on the options of frameworks unchanged', () => {
    const toRetry = () => true
    const nest = { autoLoadEntities: true, retryAttempts: 3, toRetry }
    expect(typeormOptions(server().login(), nest)).toMatchObject(nest)
  })

  it('allows initialize() again after a failure', async () => {
    const original = new Error('no credentials today')
    let failing = true
    const credentials = () => {
      if (failing) throw original
      return server().gateway.credentials
    }
    const dataSource = new DataSource(typeormOptions(server().login({ credentials })))
    expect(errorChain(await rejectionOf(dataSource.initialize()))).toContain(original)
    expect(dataSource.isInitialized).toBe(false)
    failing = false
    await dataSource.initialize()
    opened.push(dataSource)
    expect(await dataSource.query('SELECT current_user AS role')).toEqual([{ role: 'app' }])
  })

  it('creates working query runners after one could not connect', async () => {
    const putForward = fakeDate()
    const original = new Error('no credentials today')
    let failing = false
    const credentials = () => {
      if (failing) throw original
      return server().gateway.issueCredentials({ durationSecs: 3_600 })
    }
    const login = server().login({ credentials })
    const dataSource = await initialize(typeormOptions(login))
    failing = true
    putForward(3_600_000)
    await server().endSessions()
    await eventually('the end of all connections', () => login.stats().connectionsOpen === 0)
    const runner = dataSource.createQueryRunner()
    expect(errorChain(await rejectionOf(runner.connect()))).toContain(original)
    await runner.release()
    failing = false
    expect(await dataSource.query('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it('accepts options of pg in `extra`', async () => {
    const login = server().login()
    const dataSource = await initialize(
      typeormOptions(login, { poolSize: 9, extra: { max: 2, application_name: 'from extra' } }),
    )
    const queries = Array.from({ length: 10 }, () => dataSource.query('SELECT 1'))
    await Promise.all(queries)
    expect(login.stats().connectionsOpened).toBe(2)
    expect(await dataSource.query("SELECT current_setting('application_name') AS name")).toEqual([
      { name: 'from extra' },
    ])
  })

  it.each([
    { PGSSLMODE: 'disable' },
    { PGSSLNEGOTIATION: 'direct' },
    { PGPASSWORD: 'from the environment', PGUSER: 'admin', PGHOST: 'nowhere.example' },
  ])('ignores the environment %j', async (variables) => {
    const options = typeormOptions(server().login())
    await withEnvironment(variables, async () => {
      const dataSource = await initialize(options)
      expect(await dataSource.query('SELECT current_user AS role')).toEqual([{ role: 'app' }])
    })
  })
})

describe('typeormPassword', () => {
  const server = useContractServer()

  it('fails the login if a URL is given, since TypeORM then drops the password function', async () => {
    const login = server().login()
    const { port } = server().relay
    const dataSource = new DataSource({
      type: 'postgres',
      url: `postgres://app@127.0.0.1:${port}/postgres`,
      password: typeormPassword(login),
      ssl: { ...login.tls },
    })
    await expect(dataSource.initialize()).rejects.toThrow()
    expect(login.stats().tokensMade).toBe(0)
  })

  it('closes the connection of a client whose token could not be created', async () => {
    const login = server().login({ credentials: () => Promise.reject(new Error('none today')) })
    const dataSource = new DataSource({
      type: 'postgres',
      host: '127.0.0.1',
      port: server().relay.port,
      username: 'app',
      database: 'postgres',
      password: typeormPassword(login),
      ssl: { ...login.tls },
    })
    for (let time = 1; time <= 5; time++) await rejectionOf(dataSource.initialize())
    await eventually('the end of all connections', () => server().relay.open() === 0)
  })
})
