/** TypeORM's replication: each connection has a token for its own server. */
import * as pg from 'pg'
import { DataSource, type DataSourceOptions, EntitySchema } from 'typeorm'
import {
  type TypeormLoginOptions,
  typeormOptions,
  typeormPassword,
  typeormTransaction,
} from '../../adapters/typeorm.js'
import type { Login } from '../../core/index.js'
import { thrownBy } from '../core/support/caught.js'
import { FAR_READER, READER, useReplicatedGateway, WRITER } from '../support/replicated-gateway.js'

interface Note {
  id: number
}

const note = new EntitySchema<Note>({
  name: 'typeorm_note',
  columns: { id: { type: 'int', primary: true } },
})

const cluster = useReplicatedGateway()
const opened: DataSource[] = []
afterEach(() => Promise.all(opened.splice(0).map((dataSource) => dataSource.destroy())))

async function initialize(options: DataSourceOptions): Promise<DataSource> {
  const dataSource = new DataSource(options)
  await dataSource.initialize()
  opened.push(dataSource)
  return dataSource
}

const logins = (): [writer: Login, reader: Login, far: Login] => {
  const { login } = cluster()
  return [login(WRITER), login(READER), login(FAR_READER)]
}

/** The number of connections that each login has opened so far. */
const openedBy = (...all: Login[]): number[] => all.map((login) => login.stats().connectionsOpened)

/** The results of queries on each kind of server. */
async function queryOn(dataSource: DataSource, mode: 'master' | 'slave'): Promise<unknown> {
  const runner = dataSource.createQueryRunner(mode)
  try {
    return await runner.query('SELECT current_user AS role')
  } finally {
    await runner.release()
  }
}

describe('typeormOptions with replication', () => {
  it('has a pool for each login, each with its own tokens', async () => {
    const [writer, reader, far] = logins()
    const replication = { slaves: [reader, far] }
    const dataSource = await initialize(
      typeormOptions(writer, { entities: [note], synchronize: true, replication }),
    )
    await dataSource.getRepository(note).save({ id: 1 })
    expect(await dataSource.getRepository(note).findOneBy({ id: 1 })).toEqual({ id: 1 })
    expect(await queryOn(dataSource, 'master')).toEqual([{ role: 'app' }])
    expect(await queryOn(dataSource, 'slave')).toEqual([{ role: 'app' }])
    expect(openedBy(writer, reader, far)).toEqual([1, 1, 1])
    await typeormTransaction(dataSource, (manager) => manager.update(note, { id: 1 }, { id: 2 }))
    expect(openedBy(writer, reader, far)).toEqual([1, 1, 1])
  })

  it('reads from the requested server, and without replicas from the writer', async () => {
    const [writer, reader] = logins()
    const toMaster = typeormOptions(writer, {
      replication: { slaves: [reader], defaultMode: 'master' },
    })
    expect(toMaster.replication).toMatchObject({
      master: { host: WRITER },
      slaves: [{ host: READER }],
      defaultMode: 'master',
    })
    const dataSource = await initialize(typeormOptions(writer, { replication: { slaves: [] } }))
    expect(await queryOn(dataSource, 'slave')).toEqual([{ role: 'app' }])
    expect(openedBy(reader)).toEqual([0])
  })

  it("uses the caller's pool class", async () => {
    const made: unknown[] = []
    class OwnPool extends pg.Pool {
      constructor(config?: pg.PoolConfig) {
        super(config)
        made.push(this)
      }
    }
    const [writer, reader] = logins()
    const options: TypeormLoginOptions = {
      driver: { ...pg, native: undefined, Pool: OwnPool },
      replication: { slaves: [reader] },
    }
    const dataSource = await initialize(typeormOptions(writer, Object.freeze(options)))
    expect(await queryOn(dataSource, 'slave')).toEqual([{ role: 'app' }])
    expect(made).toHaveLength(2)
    expect(openedBy(writer, reader)).toEqual([1, 1])
  })

  it.each<[string, object, object]>([
    [
      'addresses',
      { slaves: [{ host: READER }] },
      {
        code: 'ERR_OPTION_INVALID',
        message:
          '"replication.slaves[0]" must be a login, such as rds() returns, or the URL of one, got an object',
      },
    ],
    [
      'no list of readers',
      {},
      {
        code: 'ERR_OPTION_INVALID',
        message:
          '"replication.slaves" must be a list of logins, such as rds() returns, got undefined',
      },
    ],
    [
      'a writer of its own',
      { master: { host: WRITER }, slaves: [] },
      {
        code: 'ERR_OPTION_CONFLICT',
        message: '"replication.master" must not be given with a login',
      },
    ],
    ['an unknown mode', { slaves: [], defaultMode: 'reader' }, { code: 'ERR_OPTION_INVALID' }],
  ])('rejects %s', (_what, replication, error) => {
    const [writer] = logins()
    const options = { replication } as object
    expect(thrownBy(() => typeormOptions(writer, options))).toMatchObject(error)
  })

  it('rejects options that would weaken TLS, for replicas as for the writer', () => {
    const [writer, reader] = logins()
    const options = { replication: { slaves: [reader] }, ssl: false } as const
    expect(thrownBy(() => typeormOptions(writer, options))).toMatchObject({
      code: 'ERR_TLS_UNVERIFIED',
    })
  })
})

describe('typeormPassword with replication', () => {
  it("uses the token of each server's login", async () => {
    const [writer, reader] = logins()
    const serverOf = (login: Login) => ({
      host: '127.0.0.1',
      port: cluster().gateway.port,
      username: 'app',
      database: 'postgres',
      password: typeormPassword(login),
      ssl: { ...login.tls },
    })
    const dataSource = await initialize({
      type: 'postgres',
      replication: { master: serverOf(writer), slaves: [serverOf(reader)] },
    })
    expect(await queryOn(dataSource, 'slave')).toEqual([{ role: 'app' }])
    expect([writer, reader].map((login) => login.stats().tokensMade)).toEqual([1, 1])
  })
})
