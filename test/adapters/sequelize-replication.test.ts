/** Sequelize's replication: each connection has a token for its own server. */
import { type Options, QueryTypes, Sequelize } from 'sequelize'
import {
  sequelizeHook,
  type SequelizeLoginOptions,
  sequelizeOptions,
  sequelizeTransaction,
} from '../../adapters/sequelize.js'
import type { Login } from '../../core/index.js'
import { thrownBy } from '../core/support/caught.js'
import { errorChain, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { FAR_READER, READER, useReplicatedGateway, WRITER } from '../support/replicated-gateway.js'

const cluster = useReplicatedGateway()
const opened: Sequelize[] = []
afterEach(() => Promise.all(opened.splice(0).map((sequelize) => sequelize.close())))

function open(options: Options): Sequelize {
  const sequelize = new Sequelize(options)
  opened.push(sequelize)
  return sequelize
}

/** The number of connections that each login has opened so far. */
const openedBy = (...logins: Login[]): number[] =>
  logins.map((login) => login.stats().connectionsOpened)

async function read(sequelize: Sequelize): Promise<void> {
  const rows = await sequelize.query('SELECT current_user AS role', { type: QueryTypes.SELECT })
  expect(rows).toEqual([{ role: 'app' }])
}

describe('sequelizeOptions with replication', () => {
  it('reads from the replicas in turn, and writes to the first login', async () => {
    const { login } = cluster()
    const [writer, reader, far] = [login(WRITER), login(READER), login(FAR_READER)]
    const sequelize = open(
      sequelizeOptions(writer, { logging: false, replication: { read: [reader, far] } }),
    )
    await Promise.all([read(sequelize), read(sequelize), read(sequelize), read(sequelize)])
    expect(openedBy(writer, reader, far)).toEqual([0, 2, 2])
    await sequelize.query('CREATE TABLE IF NOT EXISTS sequelize_note (id int)')
    await sequelizeTransaction(sequelize, (transaction) =>
      sequelize.query('INSERT INTO sequelize_note VALUES (1)', { transaction }),
    )
    expect(openedBy(writer, reader, far)).toEqual([1, 2, 2])
    expect(far.stats()).toMatchObject({ tokensMade: 1, tokensReused: 1 })
  })

  it("does not change the caller's options, and uses no replication if it is off", async () => {
    const { login } = cluster()
    const options: SequelizeLoginOptions = {
      logging: false,
      replication: { read: [login(READER)] },
      dialectOptions: Object.freeze({ application_name: 'replicated' }),
    }
    const made = sequelizeOptions(login(WRITER), Object.freeze(options))
    expect(made.replication).toMatchObject({
      write: { host: WRITER, username: 'app' },
      read: [{ host: READER, username: 'app' }],
    })
    const sequelize = open(made)
    const [row] = await sequelize.query("SELECT current_setting('application_name') AS name", {
      type: QueryTypes.SELECT,
    })
    expect(row).toEqual({ name: 'replicated' })
    expect(sequelizeOptions(login(WRITER), { replication: false })).not.toHaveProperty(
      'replication',
    )
  })

  it.each<[string, object, object]>([
    [
      'addresses',
      { read: [{ host: READER }] },
      {
        code: 'ERR_OPTION_INVALID',
        message:
          '"replication.read[0]" must be a login, such as rds() returns, or the URL of one, got an object',
      },
    ],
    [
      'no reader',
      { read: [] },
      {
        code: 'ERR_OPTION_INVALID',
        message: '"replication.read" must be a list with at least one value, got an array of 0',
      },
    ],
    [
      'a writer of its own',
      { write: { host: WRITER }, read: [] },
      {
        code: 'ERR_OPTION_CONFLICT',
        message: '"replication.write" must not be given with a login',
      },
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
})

describe('sequelizeHook with replication', () => {
  const replication = { write: { host: WRITER }, read: [{ host: READER }, { host: FAR_READER }] }
  const options = (hook: ReturnType<typeof sequelizeHook>): Options => ({
    dialect: 'postgres',
    logging: false,
    replication,
    hooks: { beforeConnect: hook },
  })

  it('uses the login of the host that Sequelize is about to connect to', async () => {
    const { login } = cluster()
    const [writer, reader, far] = [login(WRITER), login(READER), login(FAR_READER)]
    const sequelize = open(options(sequelizeHook(writer, far, reader)))
    await Promise.all([read(sequelize), read(sequelize), read(sequelize), read(sequelize)])
    await sequelize.query('CREATE TABLE IF NOT EXISTS sequelize_hook_note (id int)')
    // One connection to the writer is for the version, which Sequelize queries.
    expect(openedBy(writer, reader, far)).toEqual([2, 2, 2])
  })

  it('also finds a login by its connectTo address', async () => {
    const { login, gateway } = cluster()
    const address = { host: 'localhost', port: gateway.port }
    const reader = gateway.login({ host: READER, connectTo: address })
    const sequelize = open({
      ...options(sequelizeHook(login(WRITER), reader)),
      replication: { write: { host: WRITER }, read: [{ ...address, port: `${address.port}` }] },
    })
    await read(sequelize)
    await read(sequelize)
    expect(openedBy(reader)).toEqual([1])
  })

  it('rejects a host without a login', async () => {
    const { login } = cluster()
    const sequelize = open(options(sequelizeHook(login(WRITER), login(FAR_READER))))
    // Replicas are used in turn, and the first one has no login.
    expect(errorChain(await rejectionOf(read(sequelize)))).toContainEqual(
      expect.objectContaining({
        code: 'ERR_OPTION_CONFLICT',
        message: `"replication" contains ${READER}:5432, which none of the logins is for`,
      }),
    )
  })
})
