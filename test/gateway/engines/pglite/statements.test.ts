import type { Engine } from '../../../../gateway/engines/engine.js'
import { startPgliteEngine } from '../../../../gateway/engines/pglite/pglite-engine.js'
import {
  bind,
  closeStatement,
  connect,
  describeStatement,
  execute,
  FLUSH,
  parse,
  query,
  SYNC,
  type Answer,
  type ProtocolClient,
} from './protocol-client.js'

describe('statements of a session on PGlite', () => {
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

  const run = (client: ProtocolClient, ...messages: Buffer[]): Promise<Answer> => {
    client.send(...messages, SYNC)
    return client.answer()
  }
  const call = (client: ProtocolClient, name: string, ...values: string[]): Promise<Answer> =>
    run(client, bind(name, values), execute())

  describe('prepared by the protocol', () => {
    it('keep one name apart in two sessions', async () => {
      await run(one, parse('s', `select 'one ' || $1::text`))
      await run(two, parse('s', `select 'two ' || $1::text`))
      expect((await call(one, 's', 'x')).rows).toEqual([['one x']])
      expect((await call(two, 's', 'y')).rows).toEqual([['two y']])
    })

    it('live through the turns of others without a name, too', async () => {
      await run(one, parse('', `select 'one ' || $1::text`))
      await run(two, parse('', `select 'two ' || $1::text`))
      await two.query(`set work_mem = '5MB'`)
      expect((await call(one, '', 'x')).rows).toEqual([['one x']])
      expect((await run(one, describeStatement(''))).types).toBe('tTZ')
      expect((await call(one, '', 'z')).rows).toEqual([['one z']])
    })

    it('are answered for once, also when they have to be prepared again', async () => {
      await run(one, parse('s', 'select $1::int'))
      await two.query('deallocate all')
      const { types, rows } = await call(one, 's', '1')
      expect(types).toBe('2DCZ')
      expect(rows).toEqual([['1']])
    })

    it.each(['deallocate all', 'discard all'])('live through a %s of others', async (sql) => {
      await run(one, parse('s', 'select $1::int'), parse('t', 'select 2'))
      await run(two, parse('s', 'select 3'))
      expect((await two.query(sql)).errors).toEqual([])
      expect((await call(one, 's', '1')).rows).toEqual([['1']])
      expect((await run(one, describeStatement('t'))).types).toBe('tTZ')
      expect((await call(two, 's')).errors).toMatchObject([
        { code: '26000', message: 'prepared statement "s" does not exist' },
      ])
    })

    it('fail with the names that the client knows', async () => {
      await run(one, parse('known', 'select 1'))
      expect((await run(one, parse('known', 'select 2'))).errors).toMatchObject([
        { code: '42P05', message: 'prepared statement "known" already exists' },
      ])
      expect((await call(one, 'unknown')).errors).toMatchObject([
        { code: '26000', message: 'prepared statement "unknown" does not exist' },
      ])
    })

    it('may have names that differ only beyond 63 bytes', async () => {
      const names = ['a', 'b'].map((end) => 'n'.repeat(70) + end)
      for (const name of names) await run(one, parse(name, `select '${name.at(-1)}'`))
      for (const name of names) expect((await call(one, name)).rows).toEqual([[name.at(-1)]])
      const { errors } = await run(one, parse(names[0]!, 'select 1'))
      expect(errors[0]?.message).toBe(`prepared statement "${names[0]}" already exists`)
    })

    it('can be closed and prepared anew', async () => {
      await run(one, parse('s', 'select 1'))
      await run(one, closeStatement('s'), parse('s', 'select 2'))
      await two.query('deallocate all')
      expect((await call(one, 's')).rows).toEqual([['2']])
    })

    it('do not exist when their batch failed before', async () => {
      const { errors } = await run(
        one,
        parse('', 'select syntax error from'),
        parse('s', 'select 1'),
      )
      expect(errors).toHaveLength(1)
      expect((await call(one, 's')).errors[0]?.code).toBe('26000')
      await run(one, parse('s', 'select 2'))
      await two.query('deallocate all')
      expect((await call(one, 's')).rows).toEqual([['2']])
    })

    it('are dropped with their session', async () => {
      const three = await connect(engine)
      await run(three, parse('s', 'select 1'))
      await three.leave()
      expect(await one.value('select count(*) from pg_prepared_statements')).toBe('0')
    })
  })

  describe('prepared by SQL', () => {
    it('belong to their session', async () => {
      await one.query(`prepare p (int) as select $1 + 1; prepare "P q" as select ';'`)
      await two.query('prepare p as select 2')
      expect(await one.value('execute p (41)')).toBe('42')
      expect(await two.value('execute p')).toBe('2')
      expect(await one.value('execute "P q"')).toBe(';')
      expect(await one.value('select count(*) from pg_prepared_statements')).toBe('2')
      await one.query('deallocate p')
      await two.query('select 1')
      expect((await one.query('execute p (1)')).errors[0]?.code).toBe('26000')
      expect((await two.query('deallocate all')).errors).toEqual([])
      expect(await one.value('execute "P q"')).toBe(';')
      expect((await two.query('execute p')).errors[0]?.code).toBe('26000')
    })

    it('do not run what came with them again', async () => {
      await one.query(
        'create table if not exists once (i int); insert into once values (1); prepare q as select 1',
      )
      await two.query('select 1')
      await one.query('execute q')
      expect(await one.value('select count(*) from once')).toBe('1')
      await one.query('drop table once')
    })
  })

  it.each([
    'create temp table t (i int)',
    'CREATE /* a comment */ TEMPORARY TABLE IF NOT EXISTS t AS SELECT 1',
    'create local temporary sequence t',
    'create or replace temp view t as select 1',
    'create table pg_temp.t (i int)',
    'select 1 as i into temp t',
    'begin; create temp table t (i int) on commit preserve rows',
    'begin; declare c cursor with hold for select 1',
    'select pg_advisory_lock(1)',
    'select pg_try_advisory_lock_shared(1, 2)',
  ])('refuses what other sessions would see: %s', async (sql) => {
    const { errors } = await one.query(sql)
    expect(errors).toMatchObject([
      { code: '0A000', message: expect.stringContaining('not supported by the PGlite engine') },
    ])
    expect(errors[0]?.hint).toEqual(expect.any(String))
    await one.query('rollback')
    expect(
      (await run(one, parse('', sql.replace('begin; ', '')), bind(''), execute())).errors,
    ).toMatchObject([{ code: '0A000' }])
    await one.query('rollback')
  })

  it('has temporary tables within a transaction', async () => {
    const { errors } = await one.query(
      'begin; create temp table t (i int) on commit drop; insert into t values (1)',
    )
    expect(errors).toEqual([])
    expect(await one.value('select count(*) from t')).toBe('1')
    await one.query('commit')
    expect((await two.query('select * from t')).errors[0]?.code).toBe('42P01')
  })

  it('takes temporary things that a block has hidden away at the end of the turn', async () => {
    await one.query(`do $$ begin execute 'create temp table hidden (i int)'; end $$`)
    expect((await two.query('select * from hidden')).errors[0]?.code).toBe('42P01')
    await one.query(
      `create function pg_temp.f() returns int language sql return 1; select pg_temp.f()`,
    )
    expect((await two.query('select pg_temp.f()')).errors).toHaveLength(1)
  })

  it('lets a transaction have advisory locks', async () => {
    expect((await one.query('select pg_advisory_xact_lock(1)')).errors).toEqual([])
  })

  it('does not tell one session what a sequence gave to another', async () => {
    await one.query('create sequence numbers')
    expect(await one.value(`select nextval('numbers'); select currval('numbers')`)).toBe('1')
    expect(await two.value(`select nextval('numbers')`)).toBe('2')
    expect((await one.query(`select currval('numbers')`)).errors[0]?.code).toBe('55000')
    expect((await one.query('select lastval()')).errors[0]?.code).toBe('55000')
    await one.query(`begin; select nextval('numbers')`)
    expect(await one.value(`select currval('numbers')`)).toBe('3')
    await one.query('commit; drop sequence numbers')
  })

  it('suspends a portal and goes on with it', async () => {
    one.send(parse('', 'select generate_series(1, 5)'), bind(''), execute(2), FLUSH)
    await one.next('s')
    one.send(execute(2), FLUSH)
    await one.next('s')
    one.send(execute(2), SYNC)
    const { rows, tags } = await one.answer()
    expect(rows).toEqual([['1'], ['2'], ['3'], ['4'], ['5']])
    expect(tags).toEqual(['SELECT 1'])
  })

  it('skips what follows an error up to the Sync, and nothing after it', async () => {
    one.send(
      ...[parse('', 'select 1'), bind(''), execute(), parse('', 'select 1/0'), bind(''), execute()],
      ...[parse('', 'select 3'), bind(''), execute(), SYNC, query('select 4')],
    )
    const failed = await one.answer()
    expect(failed.rows).toEqual([['1']])
    expect(failed.errors).toMatchObject([{ code: '22012' }])
    expect((await one.answer()).rows).toEqual([['4']])
  })
})
