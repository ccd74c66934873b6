import { type Options, QueryTypes, Sequelize } from '@sequelize/core'
import { PostgresDialect } from '@sequelize/postgres'
import { createPool } from '../../adapters/pg.js'
import { sequelizeTransaction as sequelizeTransactionOf6 } from '../../adapters/sequelize.js'
import {
  sequelizeHook,
  type SequelizeLoginOptions,
  sequelizeOptions,
  type SequelizePostgresOptions,
  sequelizeTransaction,
} from '../../adapters/sequelize-7.js'
import type { Login, PgIamErrorCode } from '../../core/index.js'
import { client } from '../clients/sequelize-7.js'
import { cString, errorResponse, message, READY } from '../core/support/backend-messages.js'
import { thrownBy } from '../core/support/caught.js'
import { acceptLogin, startStandIn, type StandIn } from '../core/support/postgres-stand-in.js'
import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { errorChain, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { rdsContract } from '../support/adapter-contract/providers/rds.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { eventually } from '../support/eventually.js'
import { FAR_READER, READER, useReplicatedGateway, WRITER } from '../support/replicated-gateway.js'

describeAdapterContract(client)

type PostgresSequelize = Sequelize<PostgresDialect>
type Settings = Omit<SequelizePostgresOptions, 'dialect'>

/** In the place of another dialect's class. */
function MySqlDialect(): void {}

const opened: PostgresSequelize[] = []

function open(options: Options<PostgresDialect>): PostgresSequelize {
  const sequelize = new Sequelize(options)
  opened.push(sequelize)
  return sequelize
}

afterEach(async () => {
  for (const sequelize of opened.splice(0)) {
    await sequelize.pool.drain()
    await sequelize.close()
  }
})

function hooksOf(...logins: Login[]): NonNullable<SequelizePostgresOptions['hooks']> {
  const [writer, ...readers] = logins as [Login, ...Login[]]
  const hook = sequelizeHook(writer, ...readers)
  return { beforeConnect: hook, afterConnect: hook }
}

async function one(sequelize: Sequelize, text: string): Promise<unknown> {
  const [row] = await sequelize.query(text, { type: QueryTypes.SELECT })
  return row
}

describe('sequelizeOptions', () => {
  const server = useContractServer()

  it('opens one connection for the first query', async () => {
    const login = server().login()
    expect(await one(open(sequelizeOptions(login)), 'SELECT 1 AS one')).toEqual({ one: 1 })
    expect(login.stats()).toMatchObject({ tokensMade: 1, connectionsOpened: 1 })
  })

  it("keeps the caller's own pool options, validation included", async () => {
    const login = server().login()
    const seen: unknown[] = []
    const pool = {
      max: 1,
      validate: (connection: unknown): boolean => {
        seen.push(connection)
        return false
      },
    }
    const sequelize = open(sequelizeOptions(login, { pool }))
    await sequelize.query('SELECT 1')
    await sequelize.query('SELECT 1')
    expect(seen).toHaveLength(1)
    expect(login.stats().connectionsOpened).toBe(2)
  })

  it.each<[string, object, object]>([
    ['the native driver', { native: true }, { code: 'ERR_OPTION_CONFLICT' }],
    ['another dialect', { dialect: 'mysql' }, { code: 'ERR_OPTION_CONFLICT' }],
    ['a dialect that is no class', { dialect: null }, { code: 'ERR_OPTION_CONFLICT' }],
    [
      'the class of another dialect',
      { dialect: MySqlDialect },
      {
        code: 'ERR_OPTION_CONFLICT',
        message: '"dialect" must be PostgresDialect with a login, got MySqlDialect',
      },
    ],
    [
      'an option of Sequelize 6',
      { dialectOptions: { application_name: 'web' } },
      {
        code: 'ERR_OPTION_INVALID',
        hint: expect.stringContaining('beside the others'),
      },
    ],
  ])('rejects %s', (_what, options, error) => {
    expect(thrownBy(() => sequelizeOptions(server().login(), options))).toMatchObject(error)
  })

  it('accepts the dialect by its name, its class, and a class derived from it', async () => {
    class OwnDialect extends PostgresDialect {}
    for (const dialect of ['postgres', PostgresDialect, OwnDialect] as const) {
      const sequelize = open(sequelizeOptions(server().login(), { dialect }))
      expect(sequelize.dialect).toBeInstanceOf(
        dialect === OwnDialect ? OwnDialect : PostgresDialect,
      )
      expect(await one(sequelize, 'SELECT 1 AS one')).toEqual({ one: 1 })
    }
  })

  it('reads a backslash in a string as a character, as the server does', async () => {
    const sequelize = open(sequelizeOptions(server().login()))
    const [rows] = await sequelize.query(String.raw`SELECT '\' AS slash, $word AS word`, {
      bind: { word: 'x' },
    })
    expect(rows).toEqual([{ slash: '\\', word: 'x' }])
  })
})

describe('PGSSLNEGOTIATION=direct, which pg reads', () => {
  const server = useContractServer()
  beforeEach(() => {
    process.env['PGSSLNEGOTIATION'] = 'direct'
  })
  afterEach(() => {
    delete process.env['PGSSLNEGOTIATION']
  })

  it('is rejected by sequelizeOptions with the option to set instead', () => {
    expect(thrownBy(() => sequelizeOptions(server().login()))).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      hint: expect.stringContaining("tls: { negotiation: 'direct' }"),
    })
  })

  it('has no effect with sequelizeHook', async () => {
    const sequelize = open({ dialect: PostgresDialect, hooks: hooksOf(server().login()) })
    expect(await one(sequelize, 'SELECT 1 AS one')).toEqual({ one: 1 })
  })
})

describe.each<[string, (login: Login, options: Settings) => PostgresSequelize]>([
  ['sequelizeOptions', (login, options) => open(sequelizeOptions(login, options))],
  [
    'sequelizeHook',
    (login, options) => open({ dialect: PostgresDialect, ...options, hooks: hooksOf(login) }),
  ],
])('the session of %s', (_entry, openWith) => {
  const dsql = useContractServer()
  const amazonRds = useContractServer('PostgreSQL', rdsContract)
  const SETTINGS =
    "SELECT current_setting('client_min_messages') AS level, current_setting('timezone') AS zone"

  it('is set up by Sequelize for any other database', async () => {
    const login = amazonRds().providerLogin()
    const zone = '<+00>-00'
    expect(await one(openWith(login, {}), SETTINGS)).toEqual({ level: 'warning', zone })
    expect(await one(openWith(login, { clientMinMessages: 'error' }), SETTINGS)).toEqual({
      level: 'error',
      zone,
    })
    const berlin = { clientMinMessages: false, timezone: 'Europe/Berlin' }
    expect(await one(openWith(login, berlin), SETTINGS)).toEqual({
      level: 'notice',
      zone: 'Europe/Berlin',
    })
  })

  it("has the caller's time zone, also on Aurora DSQL", async () => {
    const sequelize = openWith(dsql().login(), { timezone: 'Europe/Berlin' })
    expect(await one(sequelize, SETTINGS)).toMatchObject({ zone: 'Europe/Berlin' })
  })

  it('ends a connection whose setup fails, and rejects with the error of the server', async () => {
    const login = amazonRds().providerLogin()
    const sequelize = openWith(login, { clientMinMessages: 'no_such_level' })
    const error = await rejectionOf(sequelize.query('SELECT 1'))
    expect(errorChain(error)).toContainEqual(expect.objectContaining({ code: '22023' }))
    await eventually('the connection to be closed', () => login.stats().connectionsOpen === 0)
    expect(login.stats().connectionsOpened).toBe(1)
  })
})

describe('the session on Aurora DSQL, which rejects SET client_min_messages', () => {
  const server = useContractServer()

  it('is not changed by sequelizeOptions', async () => {
    const login = server().login()
    const statements: string[] = []
    const logged = (text: string): void => void statements.push(text)
    const pool = createPool(login, { max: 1 })
    const SETTINGS = `SELECT current_setting('client_min_messages') AS level,
      current_setting('timezone') AS zone`
    const { rows } = await pool.query<object>(SETTINGS)
    await pool.end()
    for (const options of [{}, { clientMinMessages: undefined }, { clientMinMessages: false }]) {
      const sequelize = open(sequelizeOptions(login, { ...(options as object), logging: logged }))
      expect(await one(sequelize, SETTINGS)).toEqual(rows[0])
    }
  })

  it('cannot be given a level', () => {
    const options = { clientMinMessages: 'warning' }
    expect(thrownBy(() => sequelizeOptions(server().login(), options))).toMatchObject({
      code: 'ERR_OPTION_CONFLICT',
      message: expect.stringContaining('"clientMinMessages"'),
    })
  })
})

describe('Sequelize 7 with a scripted server', () => {
  /** What it does for a query: an error, a lost connection, or an empty result. */
  type Reply = 'refuse' | 'disconnect' | 'answer'

  const REFUSED = Buffer.concat([errorResponse('0A000', 'not supported', 'ERROR'), READY])
  const EMPTY = Buffer.concat([message('C', cString('SELECT 0')), READY])

  async function serve(replyTo: (text: string) => Reply): Promise<StandIn> {
    return startStandIn(async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      secured.on('data', (request: Buffer) => {
        if (request[0] !== 'Q'.charCodeAt(0)) return void secured.end()
        const reply = replyTo(request.toString('latin1', 5))
        if (reply === 'disconnect') secured.destroy()
        else secured.write(reply === 'refuse' ? REFUSED : EMPTY)
      })
      secured.resume()
    })
  }

  const isSetup = (text: string): boolean => text.includes('client_min_messages')
  const isTypeQuery = (text: string): boolean => text.includes('WITH ranges AS')

  it('keeps the defaults of the server if it rejects those of Sequelize, with sequelizeHook', async () => {
    const server = await serve((text) => (isSetup(text) ? 'refuse' : 'answer'))
    const login = server.login()
    const sequelize = open({ dialect: PostgresDialect, hooks: hooksOf(login) })
    await sequelize.query('SELECT 1')
    expect(login.stats()).toMatchObject({ connectionsOpened: 1, connectionsOpen: 1 })
    await sequelize.close()
    await server.close()
  })

  it('fails the query if the server rejects a level that the caller gave', async () => {
    const server = await serve((text) => (isSetup(text) ? 'refuse' : 'answer'))
    const hooks = hooksOf(server.login())
    const sequelize = open({ dialect: PostgresDialect, hooks, clientMinMessages: 'log' })
    const error = await rejectionOf(sequelize.query('SELECT 1'))
    expect(errorChain(error)).toContainEqual(expect.objectContaining({ code: '0A000' }))
    await server.close()
  })

  describe.each<[string, (login: Login) => Options<PostgresDialect>]>([
    ['sequelizeOptions', (login) => sequelizeOptions(login)],
    ['sequelizeHook', (login) => ({ dialect: PostgresDialect, hooks: hooksOf(login) })],
  ])('fails the query, but not the process, with %s', (_entry, optionsFor) => {
    const unhandled: unknown[] = []
    const onUnhandled = (reason: unknown): void => void unhandled.push(reason)
    beforeEach(() => process.on('unhandledRejection', onUnhandled))
    afterEach(() => process.off('unhandledRejection', onUnhandled))

    it.each<[string, Reply]>([
      ['rejects the query for types', 'refuse'],
      ['disconnects during the query for types', 'disconnect'],
    ])('if it %s', async (_what, reply) => {
      const server = await serve((text) => (isTypeQuery(text) ? reply : 'answer'))
      const login = server.login()
      const sequelize = open(optionsFor(login))
      const error = await rejectionOf(sequelize.query('SELECT 1'))
      const code = reply === 'refuse' ? '0A000' : 'ECONNRESET'
      expect(errorChain(error)).toContainEqual(expect.objectContaining({ code }))
      await server.idle()
      await eventually('the connection to be closed', () => login.stats().connectionsOpen === 0)
      expect(unhandled).toEqual([])
      await sequelize.close()
      await server.close()
    })
  })
})

describe('sequelizeHook', () => {
  const server = useContractServer()

  it('works if it is added to an instance later', async () => {
    const sequelize = open({ dialect: PostgresDialect })
    sequelize.hooks.addListener('beforeConnect', sequelizeHook(server().login()))
    expect(await one(sequelize, 'SELECT current_user AS role')).toEqual({ role: 'app' })
  })

  it('accepts a URL that agrees with the login', async () => {
    const login = server().login()
    const url = `postgres://app@${login.host}:${login.port}/${login.database}`
    const sequelize = open({ dialect: PostgresDialect, url, hooks: hooksOf(login) })
    expect(await one(sequelize, 'SELECT current_user AS role')).toEqual({ role: 'app' })
  })

  it.each<[string, string, PgIamErrorCode]>([
    ['a password', 'postgres://app:secret@HOST/postgres', 'ERR_OPTION_CONFLICT'],
    ['another host', 'postgres://app@db.example.com/postgres', 'ERR_OPTION_CONFLICT'],
    ['another user', 'postgres://admin@HOST/postgres', 'ERR_OPTION_CONFLICT'],
    ['ssl=false', 'postgres://app@HOST/postgres?ssl=false', 'ERR_TLS_UNVERIFIED'],
  ])('rejects a URL with %s, each time', async (_what, template, code) => {
    const login = server().login()
    const url = template.replace('HOST', login.host)
    const sequelize = open({ dialect: PostgresDialect, url, hooks: hooksOf(login) })
    for (let time = 1; time <= 2; time++) {
      const error = await rejectionOf(sequelize.query('SELECT 1'))
      expect(errorChain(error)).toContainEqual(expect.objectContaining({ code }))
    }
    expect(login.stats().tokensMade).toBe(0)
  })

  it('leaves a connection alone that sequelizeOptions has prepared for the same login', async () => {
    const login = server().login()
    const sequelize = open({
      ...sequelizeOptions(login, { application_name: 'both' }),
      hooks: hooksOf(login),
    })
    expect(await one(sequelize, "SELECT current_setting('application_name') AS name")).toEqual({
      name: 'both',
    })
  })
})

describe('replication', () => {
  const cluster = useReplicatedGateway()
  const openedBy = (...logins: Login[]): number[] =>
    logins.map((login) => login.stats().connectionsOpened)
  const read = async (sequelize: Sequelize): Promise<void> =>
    expect(await one(sequelize, 'SELECT current_user AS role')).toEqual({ role: 'app' })
  const readFourTimes = (sequelize: Sequelize): Promise<unknown> =>
    Promise.all([read(sequelize), read(sequelize), read(sequelize), read(sequelize)])

  it('reads from the replicas in turn, and writes to the first login', async () => {
    const { login } = cluster()
    const [writer, reader, far] = [login(WRITER), login(READER), login(FAR_READER)]
    const sequelize = open(sequelizeOptions(writer, { replication: { read: [reader, far] } }))
    await readFourTimes(sequelize)
    // The first connections may do all the work before the others are open.
    await eventually('two connections to each replica', () =>
      [reader, far].every((each) => each.stats().connectionsOpened === 2),
    )
    expect(openedBy(writer, reader, far)).toEqual([0, 2, 2])
    await sequelize.query('CREATE TABLE IF NOT EXISTS sequelize_7_note (id int)')
    await sequelizeTransaction(sequelize, (transaction) =>
      sequelize.query('INSERT INTO sequelize_7_note VALUES (1)', { transaction }),
    )
    expect(openedBy(writer, reader, far)).toEqual([1, 2, 2])
  })

  it('runs a read-only transaction on a replica', async () => {
    const { login } = cluster()
    const [writer, reader] = [login(WRITER), login(READER)]
    const sequelize = open(sequelizeOptions(writer, { replication: { read: [reader] } }))
    await sequelizeTransaction(sequelize, () => sequelize.query('SELECT 1'), { readOnly: true })
    expect(openedBy(writer, reader)).toEqual([0, 1])
  })

  it("does not change the caller's options, and uses no replication if it is off", () => {
    const { login } = cluster()
    const options: SequelizeLoginOptions = { replication: { read: [login(READER)] } }
    expect(sequelizeOptions(login(WRITER), Object.freeze(options)).replication).toMatchObject({
      write: { host: WRITER, user: 'app' },
      read: [{ host: READER, user: 'app' }],
    })
    expect(sequelizeOptions(login(WRITER), { replication: false })).not.toHaveProperty(
      'replication',
    )
  })

  it.each<[string, object, object]>([
    [
      'addresses',
      { read: [{ host: READER }] },
      { code: 'ERR_OPTION_INVALID', message: expect.stringContaining('"replication.read[0]"') },
    ],
    ['no reader', { read: [] }, { code: 'ERR_OPTION_INVALID' }],
    [
      'an address for the writer',
      { write: { host: WRITER }, read: [] },
      { code: 'ERR_OPTION_CONFLICT' },
    ],
    [
      'an unknown key',
      { reads: [] },
      { code: 'ERR_OPTION_INVALID', hint: 'Did you mean "replication.read"?' },
    ],
  ])('rejects %s', (_what, replication, error) => {
    const options = { replication } as object
    expect(thrownBy(() => sequelizeOptions(cluster().login(WRITER), options))).toMatchObject(error)
  })

  it('uses the login of the host that Sequelize is about to connect to, with sequelizeHook', async () => {
    const { login } = cluster()
    const [writer, reader, far] = [login(WRITER), login(READER), login(FAR_READER)]
    const sequelize = open({
      dialect: PostgresDialect,
      replication: { write: { host: WRITER }, read: [{ host: READER }, { host: FAR_READER }] },
      hooks: hooksOf(writer, far, reader),
    })
    await readFourTimes(sequelize)
    await sequelize.query('CREATE TABLE IF NOT EXISTS sequelize_7_note (id int)')
    await eventually('two connections to each replica', () =>
      [reader, far].every((each) => each.stats().connectionsOpened === 2),
    )
    expect(openedBy(writer, reader, far)).toEqual([1, 2, 2])
  })

  it('rejects a host without a login', async () => {
    const { login } = cluster()
    const sequelize = open({
      dialect: PostgresDialect,
      replication: { write: { host: WRITER }, read: [{ host: READER }] },
      hooks: hooksOf(login(WRITER), login(FAR_READER)),
    })
    expect(errorChain(await rejectionOf(read(sequelize)))).toContainEqual(
      expect.objectContaining({
        code: 'ERR_OPTION_CONFLICT',
        message: `"replication" contains ${READER}:5432, which none of the logins is for`,
      }),
    )
  })
})

describe('sequelizeTransaction', () => {
  const server = useContractServer()

  it('rejects an instance of Sequelize 6', async () => {
    const instance = { transaction: () => {}, query: () => {} }
    expect(
      await rejectionOf(sequelizeTransaction(instance as never, async () => {})),
    ).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringContaining('of Sequelize 7'),
    })
  })

  it('is not that of Sequelize 6, which rejects an instance of Sequelize 7', async () => {
    const sequelize = open(sequelizeOptions(server().login()))
    const error = await rejectionOf(sequelizeTransactionOf6(sequelize as never, async () => {}))
    expect(error).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringContaining('of Sequelize 6'),
    })
  })
})
