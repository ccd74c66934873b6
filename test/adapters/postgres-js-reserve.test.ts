/**
 * Our `sql.reserve` with connections that reach their maximum age, are lost, or are used after their release, compared with the original.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import postgres, { type ISql, type ReservedSql, type Sql } from 'postgres'
import { createSql, postgresOptions, type PostgresJsOptions } from '../../adapters/postgres-js.js'
import { isPgIamError, type AuroraDsqlOptions, type Login } from '../../core/index.js'
import { endOf, eventually } from '../support/eventually.js'
import { READY, errorResponse, textRow } from '../core/support/backend-messages.js'
import { createByteReader } from '../core/support/byte-reader.js'
import { acceptLogin, startStandIn, type StandIn } from '../core/support/postgres-stand-in.js'
import { codesOf, rejectionOf } from '../support/adapter-contract/error-chain.js'
import { useContractServer } from '../support/adapter-contract/use-contract-server.js'

const LIFETIME_SECS = 0.4
/** Time after which a timer of that lifetime has fired. */
const BEYOND_MS = LIFETIME_SECS * 1_000 + 150

describe('a connection reserved with sql.reserve()', () => {
  const server = useContractServer()
  let folder: string
  let opened: Sql[] = []
  let login: Login

  const open = (options: PostgresJsOptions = {}, loginOptions?: AuroraDsqlOptions): Sql => {
    login = server().login(loginOptions)
    const sql = createSql(login, { max: 1, onnotice: () => {}, ...options }) as Sql
    opened.push(sql)
    return sql
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'reserve-'))
    await writeFile(join(folder, 'one.sql'), 'SELECT 1 AS one')
    await open()`CREATE TABLE number (n int)`
  })
  beforeEach(() => open()`DELETE FROM number`)
  afterEach(async () => {
    await Promise.all(opened.map((sql) => sql.end({ timeout: 1 })))
    opened = []
  })
  afterAll(() => rm(folder, { recursive: true }))

  const twenty = async (sql: Sql): Promise<void> => {
    for (let query = 1; query <= 20; query++)
      expect([...(await sql.unsafe(`SELECT ${query} AS n`))]).toEqual([{ n: query }])
  }

  describe.each<[string, PostgresJsOptions, AuroraDsqlOptions, number]>([
    ['max_lifetime', { max_lifetime: LIFETIME_SECS }, {}, BEYOND_MS],
    [
      'a function as max_lifetime',
      { max_lifetime: (() => LIFETIME_SECS) as unknown as number },
      {},
      BEYOND_MS,
    ],
    ['maxLifetimeSecs of the login', {}, { maxLifetimeSecs: 1 }, 1_150],
  ])('that is past %s', (_, options, loginOptions, beyondMs) => {
    it.each([1, 3])(
      'is kept, and replaced after its release without a failed query (max: %d)',
      async (max) => {
        const sql = open({ ...options, max }, loginOptions)
        const reserved = await sql.reserve()
        const backend = await backendOf(reserved)
        await pause(beyondMs)
        expect(await backendOf(reserved)).toBe(backend)
        reserved.release()
        await twenty(sql)
        expect(await backendOf(sql)).not.toBe(backend)
      },
    )

    it('is replaced for the queries, transactions and reservations that wait for it', async () => {
      const sql = open(options, loginOptions)
      const reserved = await sql.reserve()
      const backend = await backendOf(reserved)
      const waiting = [
        backendOf(sql),
        sql.reserve().then(async (next) => {
          const own = await backendOf(next)
          next.release()
          return own
        }),
        sql.begin((transaction) => backendOf(transaction)),
        backendOf(sql),
      ]
      await pause(beyondMs)
      reserved.release()
      for (const other of await Promise.all(waiting)) expect(other).not.toBe(backend)
      await twenty(sql)
    })

    it('completes the queries that were sent before its release', async () => {
      const sql = open(options, loginOptions)
      const reserved = await sql.reserve()
      await pause(beyondMs)
      const sent = [1, 2, 3].map((n) => reserved`SELECT ${n}::int AS n`.execute())
      reserved.release()
      expect((await Promise.all(sent)).flatMap((rows) => [...rows])).toEqual([
        { n: 1 },
        { n: 2 },
        { n: 3 },
      ])
      await twenty(sql)
    })
  })

  it('is kept if max_lifetime is null', async () => {
    const sql = open({ max_lifetime: null }, { maxLifetimeSecs: 1 })
    const reserved = await sql.reserve()
    const backend = await backendOf(reserved)
    await pause(1_150)
    reserved.release()
    await twenty(sql)
    expect(await backendOf(sql)).toBe(backend)
  })

  it('is handed out again immediately if it is below its maximum age', async () => {
    const sql = open({ max: 5 })
    for (let turn = 1; turn <= 3; turn++) {
      const reserved = await sql.reserve()
      await reserved`SELECT 1`
      reserved.release()
      await sql`SELECT 1`
    }
    expect(login.stats().connectionsOpened).toBe(1)
  })

  it('does not delay sql.end() once it is released', async () => {
    const sql = open()
    const reserved = await sql.reserve()
    await reserved`SELECT 1`
    const ended = sql.end()
    await pause(50)
    reserved.release()
    expect(await endOf(ended)).not.toBe('hangs')
  })

  const losses: [string, (pid: number) => void, string][] = [
    ['killed', (pid) => void server().gateway.faults.killSession(pid), '57P01'],
    ['cut off', () => server().relay.cut(), 'CONNECTION_CLOSED'],
  ]
  describe.each(losses)('that is %s while reserved', (_, lose, code) => {
    const lost = async (sql: Sql): Promise<ReservedSql> => {
      const reserved = await sql.reserve()
      lose(await backendOf(reserved))
      await eventually('the connection to be gone', () => login.stats().connectionsOpen === 0)
      return reserved
    }

    it.each([1, 2])('fails its queries with that error, and is replaced (max: %d)', async (max) => {
      const sql = open({ max })
      const reserved = await lost(sql)
      for (const send of waysToSend(reserved, join(folder, 'one.sql')))
        expect([String(send), codesOf(await rejectionOf(send()))]).toEqual([
          String(send),
          expect.arrayContaining([code]),
        ])
      reserved.release()
      await twenty(sql)
    })

    it('is replaced if no query needs it before its release', async () => {
      const sql = open()
      const reserved = await lost(sql)
      reserved.release()
      await twenty(sql)
    })

    it('is replaced before its release, which does not affect the next connection', async () => {
      const sql = open()
      const reserved = await lost(sql)
      const next = await sql.reserve()
      const backend = await backendOf(next)
      expect(codesOf(await rejectionOf(reserved`SELECT 1`))).toContain(code)
      reserved.release()
      const other = backendOf(sql)
      await next`SELECT pg_sleep(0.05)`
      expect(await backendOf(next)).toBe(backend)
      next.release()
      expect(await other).toBe(backend)
    })

    it('is replaced for the queries that wait', async () => {
      const sql = open()
      const reserved = await sql.reserve()
      const pid = await backendOf(reserved)
      const waiting = [sql`SELECT 1`, sql.begin((own) => own`SELECT 1`), sql`SELECT 1`]
      const done = Promise.all(waiting)
      lose(pid)
      expect(await done).toHaveLength(3)
      reserved.release()
      await twenty(sql)
    })

    it('fails the query in progress, and those that wait for it', async () => {
      const sql = open()
      const reserved = await sql.reserve()
      const pid = await backendOf(reserved)
      const sent = [
        reserved`SELECT pg_sleep(${60})`,
        reserved`SELECT ${2}::int`,
        reserved`SELECT 3`,
      ].map((query) => endOf(rejectionOf(query)))
      await eventually('the query to run', async () => {
        const [row] =
          await open()`SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep($1)%' AND state = 'active' AND pid = ${pid}`
        return row !== undefined
      })
      reserved.release()
      lose(pid)
      for (const error of await Promise.all(sent)) expect(error).not.toBe('hangs')
      await twenty(sql)
    })
  })

  describe.each([true, false])(
    'that other reservations wait for (fetch_types: %s)',
    (fetch_types) => {
      const lose = (pid: number): void => void server().gateway.faults.killSession(pid)
      const usable = async (given: Promise<ReservedSql>): Promise<void> => {
        const reserved = await endOf(given)
        if (reserved === 'hangs') throw new Error('the connection was never given')
        expect([...(await reserved`SELECT 1 AS one`)]).toEqual([{ one: 1 }])
        reserved.release()
      }

      it('is passed on to them', async () => {
        const sql = open({ fetch_types })
        await Promise.all([usable(sql.reserve()), usable(sql.reserve()), usable(sql.reserve())])
        await twenty(sql)
      })

      it('is replaced for them if it is lost', async () => {
        const sql = open({ fetch_types })
        const reserved = await sql.reserve()
        const pid = await backendOf(reserved)
        const waiting = [usable(sql.reserve()), usable(sql.reserve())]
        lose(pid)
        await Promise.all(waiting)
        reserved.release()
        await twenty(sql)
      })

      it("is replaced for them if another caller's query loses its connection", async () => {
        const sql = open({ fetch_types })
        const pid = await backendOf(sql)
        const running = rejectionOf(sql`SELECT pg_sleep(60)`)
        const waiting = [usable(sql.reserve()), usable(sql.reserve())]
        await pause(20)
        lose(pid)
        expect(codesOf(await running)).toContain('57P01')
        await Promise.all(waiting)
        await twenty(sql)
      })

      it('is replaced for them if a transaction loses its connection', async () => {
        const sql = open({ fetch_types })
        let waiting: Promise<void>[] = []
        const failed = sql.begin(async (own) => {
          const pid = await backendOf(own)
          waiting = [usable(sql.reserve()), usable(sql.reserve())]
          lose(pid)
          await own`SELECT pg_sleep(60)`
        })
        expect(codesOf(await rejectionOf(failed))).toContain('57P01')
        await Promise.all(waiting)
        await twenty(sql)
      })
    },
  )

  it('rejects statements of any kind after its release', async () => {
    const sql = open()
    const reserved = await sql.reserve()
    const pages = reserved`INSERT INTO number VALUES (99) RETURNING n`.cursor()
    const late = join(folder, 'late.sql')
    await writeFile(late, 'INSERT INTO number VALUES (99)')
    reserved.release()
    for (const send of [
      ...waysToSend(reserved, late),
      () => pages[Symbol.asyncIterator]().next(),
    ]) {
      const error = await rejectionOf(send())
      expect([String(send), isPgIamError(error, 'ERR_CLOSED')]).toEqual([String(send), true])
    }
    expect([...(await sql`SELECT n FROM number`)]).toEqual([])
  })

  it('rejects statements that follow its release in the same event-loop turn', async () => {
    const sql = open()
    const reserved = await sql.reserve()
    const before = reserved`SELECT 1 AS one`.execute()
    reserved.release()
    const after = rejectionOf(reserved`INSERT INTO number VALUES (99)`)
    expect([...(await before)]).toEqual([{ one: 1 }])
    expect(await after).toMatchObject({ code: 'ERR_CLOSED' })
    expect([...(await sql`SELECT n FROM number`)]).toEqual([])
  })

  it('is released once, however often release() is called', async () => {
    const sql = open()
    const reserved = await sql.reserve()
    reserved.release()
    const next = await sql.reserve()
    await next`SET application_name TO 'next'`
    reserved.release()
    const waiting = sql`SHOW application_name`.execute()
    await next`SELECT pg_sleep(0.05)`
    await next`SET application_name TO 'at last'`
    next.release()
    expect([...(await waiting)]).toEqual([{ application_name: 'at last' }])
  })

  it.each([
    ['open', LIFETIME_SECS * 100, async () => {}],
    ['open, and past its age', LIFETIME_SECS, () => pause(BEYOND_MS)],
    [
      'failed',
      LIFETIME_SECS * 100,
      async (reserved: ReservedSql) => void (await rejectionOf(reserved`SELECT 1 / 0`)),
    ],
  ])(
    'has its transaction ended that was left %s',
    async (_, max_lifetime, meanwhile: (reserved: ReservedSql) => Promise<void>) => {
      const sql = open({ max_lifetime })
      const reserved = await sql.reserve()
      await reserved`BEGIN`
      await reserved`INSERT INTO number VALUES (1)`
      await meanwhile(reserved)
      reserved.release()
      await sql`INSERT INTO number VALUES (2)`
      expect([...(await open()`SELECT n FROM number`)]).toEqual([{ n: 2 }])
      await twenty(sql)
    },
  )

  it('waits for the end of a COPY in progress when it is released', async () => {
    const sql = open({ max_lifetime: LIFETIME_SECS })
    const reserved = await sql.reserve()
    await pause(BEYOND_MS)
    const copied = await reserved`COPY number FROM STDIN`.writable()
    reserved.release()
    const waiting = sql`SELECT count(*)::int AS n FROM number`.execute()
    await pipeline(Readable.from(['1\n', '2\n']), copied)
    expect([...(await waiting)]).toEqual([{ n: 2 }])
    await twenty(sql)
  })

  it('continues after queries that were cancelled before they were sent', async () => {
    const sql = open()
    const reserved = await sql.reserve()
    const cancelled = reserved`SELECT 1`
    cancelled.cancel()
    expect(await rejectionOf(cancelled)).toMatchObject({ code: '57014' })
    const first = reserved`SELECT ${1}::int AS n`.execute()
    const waiting = reserved`SELECT 2 AS n`.execute()
    const last = reserved`SELECT 3 AS n`.execute()
    await Promise.resolve()
    await Promise.resolve()
    waiting.cancel()
    expect(await rejectionOf(waiting)).toMatchObject({ code: '57014' })
    expect(await endOf(Promise.all([first, last]))).not.toBe('hangs')
    reserved.release()
    await twenty(sql)
  })

  it("is queued as in the original Postgres.js, and fails with the login's error if it cannot connect", async () => {
    const sql = open()
    const reserved = await sql.reserve()
    const next = sql.reserve()
    expect(await Promise.race([next, reserved`SELECT pg_sleep(0.05)`.then(() => 'busy')])).toBe(
      'busy',
    )
    reserved.release()
    ;(await next).release()
    await twenty(sql)
    const failure = new Error('no credentials')
    const failing = open({}, { credentials: () => Promise.reject(failure) })
    expect(codesOf(await rejectionOf(failing.reserve()))).toEqual(
      codesOf(await rejectionOf(postgres(postgresOptions(login, { max: 1 })).reserve())),
    )
  })

  it('has all properties of the original Postgres.js, with the same results', async () => {
    const path = join(folder, 'one.sql')
    const told = async (sql: Sql): Promise<unknown> => {
      const reserved = await sql.reserve()
      const { columns, count, command, statement } = await reserved`SELECT ${1}::int AS one`
      const pages: unknown[] = []
      for await (const rows of reserved`SELECT n FROM generate_series(1, 5) n`.cursor(2))
        pages.push([...rows])
      for await (const rows of reserved`SELECT n FROM generate_series(1, 5) n`.cursor(2)) {
        pages.push([...rows])
        break
      }
      const each: unknown[] = []
      await reserved`SELECT n FROM generate_series(1, 2) n`.forEach((row) => each.push(row))
      const all = {
        names: Object.entries(reserved).map(([name, value]) => `${name} ${typeof value}`),
        result: { columns, count, command, text: statement.string },
        pages,
        each,
        file: [...(await reserved.file(path))],
        unsafe: [...(await reserved.unsafe('SELECT 1 AS one; SELECT 2 AS two'))].map(String),
        typed: [...(await reserved`SELECT ${reserved.array([1, 2])}::int[] AS list`)],
        json: [...(await reserved`SELECT ${reserved.json({ a: 1 })} AS doc`)],
        helpers: [...(await reserved`SELECT ${reserved('n')} FROM generate_series(1, 2) n`)],
        inserted: (await reserved`INSERT INTO number ${reserved([{ n: 7 }])}`).count,
        description: (await reserved`SELECT 1 AS one`.describe()).string,
        values: [...(await reserved`SELECT 1, 2`.values())],
        failure: codesOf(await rejectionOf(reserved`SELECT 1 / 0`)),
        released: reserved.release(),
      }
      return all
    }
    const ours = open()
    const bare = postgres(postgresOptions(login, { max: 1 }))
    opened.push(bare as Sql)
    expect(await told(ours)).toEqual(await told(bare as Sql))
  })
})

/** Statements that have no effect, or insert 99. */
function waysToSend(sql: ReservedSql, path: string): (() => Promise<unknown>)[] {
  return [
    async () => sql`INSERT INTO number VALUES (99)`,
    async () => sql`INSERT INTO number VALUES (${99})`,
    async () => sql.unsafe('INSERT INTO number VALUES (99)'),
    async () => sql.file(path),
    async () => sql`INSERT INTO number VALUES (99)`.execute(),
    async () => sql`INSERT INTO number VALUES (99) RETURNING n`.forEach(() => {}),
    async () => sql`INSERT INTO number VALUES (99)`.simple(),
    async () => sql`COPY number FROM STDIN`.writable(),
    async () => sql`COPY number TO STDOUT`.readable(),
    async () => sql`INSERT INTO number VALUES (99) RETURNING n`.cursor(1, () => {}),
  ]
}

async function backendOf(sql: ISql): Promise<number> {
  const [row] = await sql<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`
  return row!.pid
}

describe('a sql.reserve() whose empty query fails', () => {
  let standIn: StandIn | undefined
  afterEach(() => standIn?.close())

  it('releases the connection', async () => {
    const failure = errorResponse('57014', 'canceling statement due to user request', 'ERROR')
    standIn = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await acceptLogin(socket, keys)
      const reader = createByteReader(secured)
      for (;;) {
        const isEmpty = (await reader.message()).toString('utf8', 5) === '\0'
        secured.write(isEmpty ? Buffer.concat([failure, READY]) : textRow('one'))
      }
    })
    const sql = createSql(standIn.login(), { max: 1, fetch_types: false })
    expect(codesOf(await rejectionOf(sql.reserve()))).toContain('57014')
    expect([...(await sql.unsafe('select'))]).toEqual([{ a: 'one' }])
    await sql.end({ timeout: 1 })
  })
})
