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

describe('a session on PGlite', () => {
  let engine: Engine
  let one: ProtocolClient
  let two: ProtocolClient
  const warnings: string[] = []

  beforeAll(async () => {
    engine = await startPgliteEngine({
      roles: ['admin', 'app', 'Ünïcode "x"'],
      database: 'postgres',
      logger: { debug() {}, info() {}, warn: (message) => warnings.push(message), error() {} },
    })
  })
  afterAll(() => engine?.close())
  beforeEach(async () => {
    one = await connect(engine)
    two = await connect(engine)
  })
  afterEach(() => Promise.all([one.leave(), two.leave()]))

  describe('settings', () => {
    it('are reported, including those of the startup packet', async () => {
      const session = await engine.openSession({
        role: 'app',
        database: 'postgres',
        parameters: new Map([
          ['application_name', 'name'],
          ['TimeZone', 'Asia/Tokyo'],
        ]),
      })
      const reported = new Map<string, string>()
      for await (const chunk of session) {
        for (const [, name, value] of (chunk as Buffer)
          .toString()
          .matchAll(/S\0\0\0.([^\0]+)\0([^\0]*)\0/gs))
          reported.set(name!, value!)
        break
      }
      expect(Object.fromEntries(reported)).toMatchObject({
        application_name: 'name',
        client_encoding: 'UTF8',
        is_superuser: 'off',
        server_encoding: 'UTF8',
        session_authorization: 'app',
        standard_conforming_strings: 'on',
        TimeZone: 'Asia/Tokyo',
      })
      expect(reported.get('server_version')).toMatch(/^\d+\.\d+/)
    })

    it.each([
      ['SET', `set work_mem = '7MB'`],
      ['set_config', `select set_config('work_mem', '7MB', false)`],
      ['a block of PL/pgSQL', `do $$ begin execute 'set work_' || 'mem = ''7MB'''; end $$`],
      [
        'a function',
        `create or replace function public.hidden() returns void language plpgsql as 'begin set work_mem = ''7MB''; end'; select public.hidden()`,
      ],
    ])('made by %s are not visible in another session', async (_label, sql) => {
      expect((await one.query(sql)).errors).toEqual([])
      expect(await two.value('show work_mem')).toBe('4MB')
      expect(await one.value('show work_mem')).toBe('7MB')
      await two.query(`set work_mem = '8MB'`)
      expect(await one.value('show work_mem')).toBe('7MB')
      expect(await two.value('show work_mem')).toBe('8MB')
    })

    it('of every kind are kept across the turns of other sessions', async () => {
      const settings = {
        application_name: `quote ' and \\ backslash`,
        DateStyle: 'German, DMY',
        TimeZone: 'America/New_York',
        search_path: 'pg_catalog, "Odd ""name"""',
        'app.tenant': 'é 🐘 \n line',
        standard_conforming_strings: 'off',
        enable_seqscan: 'off',
        statement_timeout: '54321ms',
        seq_page_cost: '1.25',
      }
      for (const [name, value] of Object.entries(settings)) {
        const set = `select set_config('${name}', convert_from(decode('${Buffer.from(value).toString('hex')}', 'hex'), 'UTF8'), false)`
        expect((await one.query(set)).errors).toEqual([])
        expect(await two.value(`select current_setting('${name}', true)`)).not.toBe(value)
      }
      for (const [name, value] of Object.entries(settings))
        expect(await one.value(`select current_setting('${name}')`)).toBe(value)
    })

    it('with custom names are known only in the session that has set them', async () => {
      // After a session has set it, PostgreSQL knows the name in the shared backend: the value is empty in other sessions, not NULL.
      const read = `select nullif(current_setting('app.tenant', true), '')`
      await one.query(`set app.tenant = 'one'`)
      expect(await two.value(read)).toBeNull()
      await two.query(`set app.tenant = 'two'`)
      expect(await one.value(read)).toBe('one')
      expect(await two.value(read)).toBe('two')
      const three = await connect(engine)
      expect(await three.value(read)).toBeNull()
      await three.leave()
    })

    it('with custom names of a transaction are reset as in PostgreSQL', async () => {
      const read = `select current_setting('app.user', true)`
      await one.query('begin')
      await one.query(`select set_config('app.user', 'x', true)`)
      expect(await one.value(read)).toBe('x')
      await one.query('commit')
      expect(await two.value(read)).toBe('')
      expect(await one.value(read)).toBe('')
    })

    it('with custom names of a transaction in one batch are reset', async () => {
      one.send(query('begin'), query(`select set_config('app.step', 'x', true)`), query('commit'))
      for (const step of ['begin', 'set', 'commit'])
        expect([step, (await one.answer()).errors]).toEqual([step, []])
      expect(await two.value(`select current_setting('app.step', true)`)).toBe('')
    })

    it('of a rolled-back transaction are discarded', async () => {
      await one.query('begin')
      await one.query(`set work_mem = '9MB'`)
      await one.query('rollback')
      await two.query('select 1')
      expect(await one.value('show work_mem')).toBe('4MB')
    })

    it.each([
      'reset application_name',
      'reset all',
      'discard all',
      'set application_name to default',
    ])('are reset to those of the startup packet by %s', async (sql) => {
      const named = await connect(engine, 'app', { application_name: 'started' })
      await named.query(`set application_name = 'changed'`)
      expect((await named.query(sql)).errors).toEqual([])
      await two.query('select 1')
      expect(await named.value('show application_name')).toBe('started')
      await named.leave()
    })

    it('of ALTER ROLE and ALTER DATABASE are applied, with lower priority than the startup packet', async () => {
      const admin = await connect(engine, 'admin')
      await admin.query(`create role configured login`)
      await admin.query(`alter role configured set work_mem = '5MB'`)
      await admin.query(`alter role configured set temp_buffers = '2MB'`)
      await admin.query(`alter database postgres set work_mem = '6MB'`)
      await admin.query(`alter database postgres set application_name = 'of the database'`)
      await admin.query(`alter database postgres set temp_buffers = '3MB'`)
      const client = await connect(engine, 'configured', { options: '-c temp_buffers=1MB' })
      await two.query('select 1')
      expect(await client.value('show work_mem')).toBe('5MB')
      expect(await client.value('show application_name')).toBe('of the database')
      expect(await client.value('show temp_buffers')).toBe('1MB')
      expect(await two.value('show work_mem')).toBe('4MB')
      await client.leave()
      await admin.query('alter database postgres reset all')
      await admin.query('drop role configured')
      await admin.leave()
    })
  })

  describe('role', () => {
    it('is the role of the login, with any name', async () => {
      const odd = await connect(engine, 'Ünïcode "x"')
      expect(await odd.value('select current_user')).toBe('Ünïcode "x"')
      expect(await one.value('select session_user')).toBe('app')
      expect(await odd.value('select session_user')).toBe('Ünïcode "x"')
      await odd.leave()
    })

    it.each([
      'set session authorization postgres',
      'set session authorization admin',
      `select set_config('session_authorization', 'admin', false)`,
      `do $$ begin execute 'set session ' || 'authorization admin'; end $$`,
      `do $$ begin execute 'set session ' || 'authorization pglite_keeper'; end $$`,
      `select pglite_keeper.unlock('guess')`,
      'select pglite_keeper.open()',
      'set role pglite_keeper',
      'set role admin',
      `do $$ begin execute 'set session ' || 'authorization postgres'; end $$`,
      'begin; set local session authorization postgres',
      `create function public.f() returns int language sql set session_authorization = 'admin' return 1; select public.f()`,
    ])('cannot be changed by %s', async (sql) => {
      const { errors } = await one.query(sql)
      // The superuser has no name while clients run.
      expect(['42501', '22023']).toContain(errors[0]?.code)
      await one.query('rollback')
      expect(await one.value('select session_user')).toBe('app')
      expect((await one.query('create role intruder')).errors[0]?.code).toBe('42501')
    })

    it.each(['reset session authorization', 'discard all', 'set session authorization default'])(
      'stays the same after %s',
      async (sql) => {
        expect((await one.query(sql)).errors).toEqual([])
        expect(await one.value('select session_user')).toBe('app')
      },
    )

    it('of SET ROLE is limited to its session', async () => {
      const admin = await connect(engine, 'admin')
      await admin.query('create role team; grant team to admin')
      expect((await admin.query('set role team')).errors).toEqual([])
      expect(await one.value('select current_user')).toBe('app')
      expect(await admin.value('select current_user')).toBe('team')
      await admin.query('reset role; drop role team')
      await admin.leave()
    })

    it('that was dropped ends its session', async () => {
      const admin = await connect(engine, 'admin')
      await admin.query('create role leaving login')
      const client = await connect(engine, 'leaving')
      await admin.query('drop role leaving')
      const failure = client.query('select 1')
      await expect(failure).rejects.toThrow(/role .*leaving.* does not exist/)
      await admin.leave()
    })

    it('admin can create tables, schemas and roles, and other roles cannot create roles', async () => {
      const admin = await connect(engine, 'admin')
      for (const sql of [
        'create schema s',
        'create table s.t (i int)',
        'create role r',
        'drop role r',
        'drop schema s cascade',
      ])
        expect((await admin.query(sql)).errors).toEqual([])
      expect(await admin.value('show is_superuser')).toBe('off')
      expect((await one.query('create schema mine; drop schema mine')).errors).toEqual([])
      expect((await one.query('create role mine')).errors[0]?.code).toBe('42501')
      expect((await one.query('create table mine (i int); drop table mine')).errors).toEqual([])
      await admin.leave()
    })

    it.each([
      ['an unknown role', 'nobody', {}, '28000'],
      ['a role without login', 'pg_read_all_data', {}, '28000'],
      ['an unknown setting', 'app', { no_such_setting: '1' }, '42704'],
      ['a wrong value', 'app', { work_mem: 'much' }, '22023'],
      ['a setting of the superuser', 'app', { options: '-c max_stack_depth=1MB' }, '42501'],
      ['another command line', 'app', { options: '-B 100' }, '42601'],
      ['replication', 'app', { replication: 'database' }, '0A000'],
    ])('is refused for a session with %s', async (_label, role, parameters, sqlState) => {
      await expect(connect(engine, role, parameters)).rejects.toMatchObject({
        sqlState,
        severity: 'FATAL',
      })
      expect(await one.value('select 1')).toBe('1')
    })

    it('is refused for another database', async () => {
      await expect(connect(engine, 'app', {}, 'other')).rejects.toMatchObject({
        sqlState: '3D000',
        message: 'database "other" does not exist',
      })
    })
    it('causes a warning in the log if it is the second one', async () => {
      await (await connect(engine, 'admin')).leave()
      expect(warnings).toEqual([expect.stringContaining('a second role has logged in')])
    })
    // Each replaces an object of pg_catalog for search paths with `public` first, and makes `app` a superuser if it runs as one.
    const POISON = `
    create function public.poison() returns boolean language plpgsql as $$ begin
      if (select rolsuper from pg_catalog.pg_roles where rolname operator(pg_catalog.=) current_user)
        then execute 'alter role app superuser'; end if;
      return false; end $$`
    const OPERANDS = [
      'oid, int4',
      'oid, oid',
      'name, text',
      'name, name',
      'pg_lsn, text',
      'int4, int4',
    ]
    const FUNCTIONS = [
      'set_config(text, text, boolean) returns text',
      'current_database() returns name',
      'unnest(text[]) returns setof text',
      'pg_listening_channels() returns setof text',
      'pg_wal_lsn_diff(pg_lsn, pg_lsn) returns numeric',
      'pg_current_wal_insert_lsn() returns pg_lsn',
    ]

    it('resolves no objects of other roles, whatever its search path is', async () => {
      const maker = await connect(engine)
      const done = async (sql: string): Promise<void> => {
        expect((await maker.query(sql)).errors).toEqual([])
      }
      await done(POISON)
      let count = 0
      for (const operands of OPERANDS) {
        const [left, right] = operands.split(', ')
        const name = `public.compare_${++count}`
        await done(
          `create function ${name}(${operands}) returns boolean language sql as 'select public.poison()'`,
        )
        for (const operator of ['=', '<>', '~'])
          await done(
            `create operator public.${operator} (leftarg = ${left}, rightarg = ${right}, function = ${name})`,
          )
      }
      for (const signature of FUNCTIONS) {
        const [, type] = /returns (?:setof )?(\S+)$/.exec(signature)!
        await done(
          `create function public.${signature} language sql as 'select null::${type} from public.poison()'`,
        )
      }
      for (const setting of [`work_mem = '5MB'`, `search_path = public, pg_catalog`])
        await done(`alter role app set ${setting}`)
      const isSuperuser = `select rolsuper from pg_catalog.pg_roles where rolname::text operator(pg_catalog.=) 'app'::text`
      for (let login = 0; login < 2; login++) {
        const client = await connect(engine)
        expect(await client.value('show work_mem')).toBe('5MB')
        expect(await client.value('show search_path')).toBe('public, pg_catalog')
        for (const sql of ['prepare p as select 1', 'execute p', 'discard all'])
          expect((await client.query(sql)).errors).toEqual([])
        // The session's own search path applies to its own statements.
        expect(await client.value('select current_database()')).toBeNull()
        expect(await client.value(isSuperuser)).toBe('f')
        await client.leave()
      }
      await done('alter role app reset all')
      for (const signature of FUNCTIONS)
        await done(`drop function public.${signature.split(' returns')[0]}`)
      await done('drop function public.poison cascade')
      await maker.leave()
    })
  })

  describe('statements', () => {
    const run = (client: ProtocolClient, ...messages: Buffer[]): Promise<Answer> => {
      client.send(...messages, SYNC)
      return client.answer()
    }
    const call = (client: ProtocolClient, name: string, ...values: string[]): Promise<Answer> =>
      run(client, bind(name, values), execute())

    describe('prepared by the protocol', () => {
      it('with the same name are separate in two sessions', async () => {
        await run(one, parse('s', `select 'one ' || $1::text`))
        await run(two, parse('s', `select 'two ' || $1::text`))
        expect((await call(one, 's', 'x')).rows).toEqual([['one x']])
        expect((await call(two, 's', 'y')).rows).toEqual([['two y']])
      })

      it('without a name are kept across the turns of other sessions', async () => {
        await run(one, parse('', `select 'one ' || $1::text`))
        await run(two, parse('', `select 'two ' || $1::text`))
        await two.query(`set work_mem = '5MB'`)
        expect((await call(one, '', 'x')).rows).toEqual([['one x']])
        expect((await run(one, describeStatement(''))).types).toBe('tTZ')
        expect((await call(one, '', 'z')).rows).toEqual([['one z']])
      })

      it('cause one reply only, even if they are prepared again', async () => {
        await run(one, parse('s', 'select $1::int'))
        await two.query('deallocate all')
        const { types, rows } = await call(one, 's', '1')
        expect(types).toBe('2DCZ')
        expect(rows).toEqual([['1']])
      })

      it('keep their name reserved across the turns of other sessions', async () => {
        await run(one, parse('s', 'select 1'))
        await two.query('select 1')
        expect((await run(one, parse('s', 'select 2'))).errors).toMatchObject([{ code: '42P05' }])
      })

      it('can be closed and prepared again', async () => {
        await run(one, parse('s', 'select 1'))
        await run(one, closeStatement('s'), parse('s', 'select 2'))
        await two.query('deallocate all')
        expect((await call(one, 's')).rows).toEqual([['2']])
      })

      it('are not created if their batch failed before', async () => {
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

      it('do not repeat the other statements of their query', async () => {
        await one.query(
          'create table if not exists once (i int); insert into once values (1); prepare q as select 1',
        )
        await two.query('select 1')
        await one.query('execute q')
        expect(await one.value('select count(*) from once')).toBe('1')
        await one.query('drop table once')
      })
    })

    it('do not reveal the sequence values of another session', async () => {
      await one.query('create sequence numbers')
      expect(await one.value(`select nextval('numbers'); select currval('numbers')`)).toBe('1')
      expect(await two.value(`select nextval('numbers')`)).toBe('2')
      expect((await one.query(`select currval('numbers')`)).errors[0]?.code).toBe('55000')
      expect((await one.query('select lastval()')).errors[0]?.code).toBe('55000')
      await one.query(`begin; select nextval('numbers')`)
      expect(await one.value(`select currval('numbers')`)).toBe('3')
      await one.query('commit; drop sequence numbers')
    })

    it('can be suspended as portals and continued', async () => {
      one.send(parse('', 'select generate_series(1, 5)'), bind(''), execute(2), FLUSH)
      await one.next('s')
      one.send(execute(2), FLUSH)
      await one.next('s')
      one.send(execute(2), SYNC)
      const { rows, tags } = await one.answer()
      expect(rows).toEqual([['1'], ['2'], ['3'], ['4'], ['5']])
      expect(tags).toEqual(['SELECT 1'])
    })

    it('are skipped after an error until the Sync', async () => {
      one.send(
        ...[
          parse('', 'select 1'),
          bind(''),
          execute(),
          parse('', 'select 1/0'),
          bind(''),
          execute(),
        ],
        ...[parse('', 'select 3'), bind(''), execute(), SYNC, query('select 4')],
      )
      const failed = await one.answer()
      expect(failed.rows).toEqual([['1']])
      expect(failed.errors).toMatchObject([{ code: '22012' }])
      expect((await one.answer()).rows).toEqual([['4']])
    })
  })
})
