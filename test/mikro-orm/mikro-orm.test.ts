import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import {
  type EventSubscriber,
  type Kysely,
  MikroORM,
  type Options,
  RequestContext,
} from '@mikro-orm/postgresql'
import { CompiledQuery } from 'kysely'
import { mikroOrmOptions, mikroOrmTransaction } from '../../adapters/mikro-orm.js'
import { isOccConflict, type Login } from '../../core/index.js'
import { itRunsExample } from '../examples/it-runs-example.js'
import { rejectionOf } from '../support/adapter-contract/error-chain.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'
import { type Manager, Note, noteSchema } from './client.js'

const run = promisify(execFile)
const withCode = (code: string): unknown => expect.objectContaining({ code }) as unknown

async function withOrm(
  login: Login,
  options: object,
  use: (orm: MikroORM, em: Manager) => Promise<void>,
): Promise<void> {
  const settings = { entities: [noteSchema], pool: { min: 0, max: 1 } }
  const orm = new MikroORM(mikroOrmOptions(login, { ...settings, ...options }) as Options)
  try {
    await use(orm, orm.em as Manager)
  } finally {
    await orm.close(true)
  }
}

const backend = async (em: Manager): Promise<unknown> =>
  (await em.execute<{ pid: number }[]>('SELECT pg_backend_pid() AS pid'))[0]?.pid

const idsOf = async (em: Manager, ids: number[]): Promise<number[]> =>
  (await em.fork().find(Note, { id: { $in: ids } }, { orderBy: { id: 'asc' } })).map(({ id }) => id)

describe('mikroOrmOptions', () => {
  const server = useContractServer()

  it('passes on other options, and those of the pool', () => {
    const login = server().login({ maxLifetimeSecs: 100 })
    const options = mikroOrmOptions(login, {
      debug: true,
      replicas: undefined as never,
      driverOptions: { keepAlive: true, types: undefined },
    })
    expect(options).toMatchObject({
      debug: true,
      host: login.host,
      port: login.port,
      dbName: login.database,
      user: 'app',
      driverOptions: { keepAlive: true, ssl: false, stream: expect.any(Function) },
    })
    for (const name of ['password', 'clientUrl', 'replicas'])
      expect(options).not.toHaveProperty(name)
    expect(options.driverOptions).not.toHaveProperty('types')
  })

  it("calls the caller's onPoolCreated with the pool", async () => {
    const pools: unknown[] = []
    const onPoolCreated = (pool: unknown): void => void pools.push(pool)
    await withOrm(server().login(), { driverOptions: { onPoolCreated } }, async (_, em) => {
      expect(await em.fork().count(Note, { id: -1 })).toBe(0)
      expect(pools).toEqual([await em.getConnection().getNativeClient()])
    })
    expect(() =>
      mikroOrmOptions(server().login(), { driverOptions: { onPoolCreated: 'log' } }),
    ).toThrow('"driverOptions.onPoolCreated" must be a function')
  })

  it('calls onCreateConnection once for each connection', async () => {
    let calls = 0
    const onCreateConnection = async (): Promise<void> => void calls++
    await withOrm(server().login(), { onCreateConnection }, async (_, em) => {
      for (let time = 1; time <= 2; time++) {
        await em.fork().count(Note, { id: -1 })
        await em.fork().transactional(async (fork) => fork.count(Note, { id: -1 }))
      }
      expect(calls).toBe(1)
    })
  })

  it.each(['onCreateConnection', 'onReserveConnection'] as const)(
    'frees the slot of a connection if %s fails',
    async (hook) => {
      const failure = new Error('no such setting')
      let failures = 2
      const fail = async (): Promise<void> => {
        if (failures-- > 0) throw failure
      }
      await withOrm(server().login(), { ensureDatabase: false, [hook]: fail }, async (_, em) => {
        const wanted = expect.objectContaining({ message: failure.message }) as unknown
        expect(await rejectionOf(em.fork().count(Note, { id: -1 }))).toEqual(wanted)
        expect(await rejectionOf(em.fork().transactional(async () => 1))).toEqual(wanted)
        expect(await em.fork().count(Note, { id: -1 })).toBe(0)
      })
    },
  )

  it('frees the slot of a connection if the context of its session cannot be set', async () => {
    await withOrm(server().login(), { sessionContext: 'connection' }, async (_, em) => {
      const count = (role: string): Promise<number> =>
        RequestContext.create(em, () => {
          em.setSessionContext({ role })
          return em.count(Note, { id: -1 })
        })
      expect(await rejectionOf(count('no such role'))).toMatchObject({ code: '22023' })
      expect(await count('none')).toBe(0)
    })
  })

  it('reads from replicas and writes to the first login', async () => {
    const [writer, reader] = [server().login(), server().login()]
    const options = { replicas: [reader], driverOptions: { application_name: 'shop' } }
    await withOrm(writer, options, async (_, em) => {
      await em.fork().insert(Note, { id: 201, body: 'one' })
      const before = reader.stats().connectionsOpened
      expect(before).toBe(0)
      expect(await idsOf(em, [201])).toEqual([201])
      expect(reader.stats().connectionsOpened).toBe(1)
      const names = await em
        .getConnection('read')
        .execute<{ name: string }[]>("SELECT current_setting('application_name') AS name")
      expect(names).toEqual([{ name: 'shop' }])
    })
  })

  it('leaves the pool to other code, which may use a connection after COMMIT', async () => {
    await withOrm(server().login(), {}, async (_, em) => {
      const pool = await em.getConnection().getNativeClient()
      const lent = await pool.connect()
      for (const text of ['BEGIN', 'SELECT 1', 'COMMIT', 'SELECT 1']) await lent.query(text)
      lent.release()
      expect((await pool.query<{ one: number }>('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    })
  })

  it('keeps the connection after a conflict in em.flush(), and after a failed function', async () => {
    const login = server().login()
    await withOrm(login, {}, async (_, em) => {
      server().gateway.faults.raiseConflicts({ at: 'commit' })
      const fork = em.fork()
      fork.create(Note, { id: 211, body: 'gone' })
      expect(isOccConflict(await rejectionOf(fork.flush()))).toBe(true)
      const failure = new Error('changed my mind')
      expect(await rejectionOf(em.fork().transactional(() => Promise.reject(failure)))).toBe(
        failure,
      )
      expect(await idsOf(em, [211])).toEqual([])
      expect(login.stats().connectionsOpened).toBe(1)
    })
  })

  it('streams, also in a transaction', async () => {
    await withOrm(server().login(), {}, async (_, em) => {
      const read = async (from: Manager): Promise<number[]> => {
        const ids: number[] = []
        for await (const { id } of from.stream(Note, { where: { id: 221 } })) ids.push(id)
        return ids
      }
      await em.fork().insert(Note, { id: 221, body: 'one' })
      expect(await read(em.fork())).toEqual([221])
      expect(await mikroOrmTransaction(em, read)).toEqual([221])
    })
  })

  it.each([
    [{ connection: { ssl: true } }, 'move them up by one level'],
    [() => ({}), 'MikroORM creates no pool'],
    [{ getExecutor: () => ({}) } as unknown as Kysely<unknown>, 'MikroORM creates no pool'],
  ])('explains what to do instead of driverOptions %p', (driverOptions, hint) => {
    expect(() =>
      mikroOrmOptions(server().login(), { driverOptions: driverOptions as never }),
    ).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTION_CONFLICT',
        hint: expect.stringContaining(hint),
      }),
    )
  })
})

describe('mikroOrmTransaction', () => {
  const server = useContractServer()

  it('starts each attempt with an empty identity map, and leaves that of the caller alone', async () => {
    await withOrm(server().login(), {}, async (_, em) => {
      const outer = em.fork()
      outer.create(Note, { id: 231, body: 'not flushed' })
      server().gateway.faults.raiseConflicts({ at: 'commit', times: 2 })
      const managers = new Set<Manager>()
      const note = await mikroOrmTransaction(
        outer,
        async (own) => {
          managers.add(own)
          expect(own.getUnitOfWork().getIdentityMap().keys()).toHaveLength(0)
          const created = own.create(Note, { id: 232, body: `attempt ${managers.size}` })
          await own.flush()
          expect(await own.findOneOrFail(Note, { id: 232 })).toBe(created)
          return created
        },
        { baseDelayMs: 0 },
      )
      expect(managers.size).toBe(3)
      expect(note.body).toBe('attempt 3')
      expect(await idsOf(em, [231, 232])).toEqual([232])
      expect(outer.getUnitOfWork().getById(Note, 232)).toBeUndefined()
    })
  })

  it('flushes the changes of the attempt before COMMIT', async () => {
    await withOrm(server().login(), {}, async (_, em) => {
      await mikroOrmTransaction(em, async (own) => void own.create(Note, { id: 241, body: 'x' }))
      expect(await idsOf(em, [241])).toEqual([241])
    })
  })

  it('rejects a call within a transaction, with any EntityManager of the ORM', async () => {
    await withOrm(server().login(), { pool: { min: 0, max: 2 } }, async (orm, em) => {
      const nested = withCode('ERR_TRANSACTION_NESTED')
      const call = (on: Manager): Promise<unknown> =>
        rejectionOf(mikroOrmTransaction(on, async () => 1))
      await mikroOrmTransaction(em, async (own) => {
        for (const each of [own, em, orm.em.fork() as Manager])
          expect(await call(each)).toEqual(nested)
      })
      const begun = em.fork()
      await begun.begin()
      expect(await call(begun)).toEqual(nested)
      await begun.rollback()
      expect(await mikroOrmTransaction(begun, async () => 1)).toBe(1)
    })
  })

  it("passes on MikroORM's options, and rejects unknown ones", async () => {
    await withOrm(server().login(), {}, async (_, em) => {
      const read = (own: Manager): Promise<unknown> => own.execute('SHOW transaction_read_only')
      const options = { readOnly: true, isolationLevel: 'repeatable read' } as const
      expect(await mikroOrmTransaction(em, read, options)).toEqual([
        { transaction_read_only: 'on' },
      ])
      expect(options).toEqual({ readOnly: true, isolationLevel: 'repeatable read' })
      for (const [bad, hint] of [
        [{ propagation: 'nested' }, 'always a new one'],
        [{ ctx: {} }, 'always a new one'],
        [{ clear: true }, 'empty identity map'],
        [{ readonly: true }, 'Did you mean "readOnly"?'],
      ] as const)
        expect(await rejectionOf(mikroOrmTransaction(em, read, bad as object))).toMatchObject({
          code: 'ERR_OPTION_INVALID',
          hint: expect.stringContaining(hint),
        })
    })
  })

  it("is not confused by MikroORM's own transactions in its function", async () => {
    await withOrm(server().login(), { pool: { min: 0, max: 2 } }, async (_, em) => {
      const lost = mikroOrmTransaction(em, async (own) => {
        const other = own.fork()
        await other.transactional(async (inner) => backend(inner))
        server().gateway.faults.cut({ at: 'after-commit' })
      })
      expect(await rejectionOf(lost)).toEqual(withCode('ERR_OUTCOME_UNKNOWN'))
      expect(await em.fork().count(Note, { id: -1 })).toBe(0)
    })
  })

  it('frees the slot if a subscriber keeps MikroORM from rolling back', async () => {
    const subscriber: EventSubscriber = {
      beforeTransactionRollback: () => Promise.reject(new Error('the audit log is down')),
    }
    await withOrm(server().login(), { subscribers: [subscriber] }, async (_, em) => {
      const failure = new Error('changed my mind')
      const failed = mikroOrmTransaction(em, async (own) => {
        await own.insert(Note, { id: 251, body: 'gone' })
        throw failure
      })
      expect(await rejectionOf(failed)).toBe(failure)
      expect(await idsOf(em, [251])).toEqual([])
    })
  })

  it('never runs a statement of a transaction that has ended in the next one on its connection', async () => {
    await withOrm(server().login(), {}, async (_, em) => {
      const late: ((id: number) => Promise<unknown>)[] = []
      const insert = (id: number): string => `INSERT INTO note VALUES (${id}, 'late')`
      let ended!: Manager
      // Kysely (0.29) knows that a transaction has ended, but not of what it derives from it, and not of connections.
      await mikroOrmTransaction(em, async (own) => {
        ended = own
        await own.transactional(async (nested) => {
          late.push((id) => nested.execute(insert(id)))
        })
        const derived = own.getKysely({ convertValues: true })
        late.push((id) => derived.executeQuery(CompiledQuery.raw(insert(id))))
      })
      await em
        .getConnection()
        .getClient()
        .connection()
        .execute(async (lent) => {
          late.push((id) => lent.executeQuery(CompiledQuery.raw(insert(id))))
        })
      const ids = late.map((_send, index) => 271 + index)
      await mikroOrmTransaction(em, async (own) => {
        await own.insert(Note, { id: 270, body: 'next' })
        for (const [index, send] of late.entries())
          expect(await rejectionOf(send(271 + index))).toEqual(withCode('ERR_CLOSED'))
        expect(await rejectionOf(ended.execute(insert(279)))).toBeInstanceOf(Error)
      })
      expect(await idsOf(em, [270, ...ids, 279])).toEqual([270])
    })
  })
})

describe('the built package', () => {
  it('works with MikroORM in plain Node, with import and require', async () => {
    const { stdout } = await run(process.execPath, ['test/mikro-orm/program.mjs'])
    expect(JSON.parse(stdout)).toEqual({
      notes: [1, 2],
      lost: 'ERR_OUTCOME_UNKNOWN',
      conflictsRetried: 1,
    })
  })
})

describe('npm run example', () => {
  itRunsExample('mikro-orm', { NODE_OPTIONS: '--import ./test/mikro-orm/resolve.mjs' })
})

describe('the types', () => {
  it('let user code compile without a cast', async () => {
    const tsc = ['node_modules/typescript/bin/tsc', '--noEmit', '-p', 'test/mikro-orm']
    const { stdout } = await run(process.execPath, tsc).catch(
      (error: unknown) => error as { stdout: string },
    )
    expect(stdout).toBe('')
  })
})
