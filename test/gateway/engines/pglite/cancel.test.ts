import type { Engine } from '../../../../gateway/engines/engine.js'
import { startPgliteEngine } from '../../../../gateway/engines/pglite/pglite-engine.js'
import {
  bind,
  connect,
  execute,
  parse,
  query,
  SYNC,
  type ProtocolClient,
} from './protocol-client.js'

const ENDLESS = 'select count(*) from generate_series(1, 1000000000000)'

describe('cancelling on PGlite', () => {
  let engine: Engine
  let one: ProtocolClient
  let two: ProtocolClient

  beforeAll(async () => {
    engine = await startPgliteEngine({ roles: ['app'], database: 'postgres' })
  })
  afterAll(() => engine?.close())
  beforeEach(async () => {
    one = await connect(engine)
    two = await connect(engine)
  })
  afterEach(() => Promise.all([one.leave(), two.leave()]))

  const CANCELLED = [
    { severity: 'ERROR', code: '57014', message: 'canceling statement due to user request' },
  ]
  /** Sends, and resolves once the statement runs: it raises a notice first. */
  const begin = async (client: ProtocolClient, sql: string): Promise<void> => {
    await client.query('begin')
    client.send(query(`do $$ begin raise notice 'begun'; end $$; ${sql}`))
    await client.next('N')
  }

  it.each([
    ['a statement that computes', ENDLESS],
    ['a statement that sleeps', 'select pg_sleep(1000)'],
    ['a loop of PL/pgSQL', 'do $$ begin loop null; end loop; end $$'],
    ['a statement that sleeps in PL/pgSQL', 'do $$ begin perform pg_sleep(1000); end $$'],
    ['a large sort', 'select i from generate_series(1, 100000000) i order by md5(i::text)'],
  ])('ends %s and leaves the session as it was', async (_label, sql) => {
    await one.query(`set work_mem = '6MB'`)
    await begin(one, sql)
    one.session.cancel()
    const { errors, status } = await one.answer()
    expect(errors).toMatchObject(CANCELLED)
    expect(status).toBe('E')
    await one.query('rollback')
    expect(await one.value('show work_mem')).toBe('6MB')
    expect(await two.value('select 1')).toBe('1')
  })

  it('ends a statement that sends results without end', async () => {
    one.send(query('select generate_series(1, 1000000000000)'))
    await one.next('D')
    one.session.cancel()
    expect((await one.answer()).errors).toMatchObject(CANCELLED)
  })

  it('ends the wait of one that has no turn yet', async () => {
    await one.query('begin')
    const waiting = two.query('select 1')
    // A cancel that is there before its statement does nothing, as on every server.
    await new Promise(setImmediate)
    two.session.cancel()
    expect(await waiting).toMatchObject({ errors: CANCELLED, types: 'EZ', status: 'I' })
    await one.query('commit')
    expect(await two.value('select 1')).toBe('1')
  })

  it('does nothing when nothing runs', async () => {
    one.session.cancel()
    expect(await one.value('select 1')).toBe('1')
    await one.query('begin')
    one.session.cancel()
    expect(await one.value('select 1')).toBe('1')
    expect((await one.query('commit')).errors).toEqual([])
  })

  it('never hits another statement than the one that runs', async () => {
    for (let round = 0; round < 100; round++) {
      const mine = one.query('select 1')
      const others = two.query('select 2')
      one.session.cancel()
      for (const { code } of (await mine).errors) expect(code).toBe('57014')
      expect((await others).rows).toEqual([['2']])
      expect((await one.query('select 3')).rows).toEqual([['3']])
    }
  })

  it('ends one of several queued statements', async () => {
    await begin(one, ENDLESS)
    one.send(query('rollback'), query('select 1'))
    one.session.cancel()
    expect((await one.answer()).errors).toMatchObject(CANCELLED)
    expect((await one.answer()).errors).toEqual([])
    expect((await one.answer()).rows).toEqual([['1']])
  })

  it('is what statement_timeout does, with its own words', async () => {
    await one.query('set statement_timeout = 50')
    const { errors } = await one.query(ENDLESS)
    expect(errors).toMatchObject([
      { code: '57014', message: 'canceling statement due to statement timeout' },
    ])
    expect(await two.value('show statement_timeout')).toBe('0')
    one.send(parse('', 'select pg_sleep(1000)'), bind(''), execute(), SYNC)
    expect((await one.answer()).errors[0]?.code).toBe('57014')
  })

  it('can be caught where PostgreSQL lets it', async () => {
    await one.query(`do $$ begin null; end $$; set statement_timeout = 500`)
    const { errors, tags } = await one.query(
      `do $$ begin perform pg_sleep(1000); exception when query_canceled then null; end $$`,
    )
    expect({ errors, tags }).toEqual({ errors: [], tags: ['DO'] })
  })

  it('is what the end of a session does to a statement without end', async () => {
    const three = await connect(engine)
    await begin(three, ENDLESS)
    three.session.destroy()
    expect(await one.value('select 1')).toBe('1')
    const four = await connect(engine)
    await begin(four, 'select pg_sleep(1000)')
    four.session.end()
    expect(await one.value('select 1')).toBe('1')
  })
})

describe('the limits of PGlite', () => {
  it('end a statement that nobody cancels', async () => {
    const engine = await startPgliteEngine({
      roles: ['app'],
      database: 'postgres',
      statementTimeoutMs: 100,
    })
    try {
      const client = await connect(engine)
      await client.query('set statement_timeout = 0')
      expect((await client.query(ENDLESS)).errors).toMatchObject([
        { code: '57014', message: 'canceling statement due to statement timeout' },
      ])
      expect(await client.value('select 1')).toBe('1')
    } finally {
      await engine.close()
    }
  })
})
