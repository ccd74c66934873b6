import type { Engine } from '../../../../gateway/engines/engine.js'
import { startPgliteEngine } from '../../../../gateway/engines/pglite/pglite-engine.js'
import { connect, type ProtocolClient } from './protocol-client.js'

describe('the role of a session on PGlite', () => {
  let engine: Engine
  let one: ProtocolClient
  let two: ProtocolClient

  beforeAll(async () => {
    engine = await startPgliteEngine({
      roles: ['admin', 'app', 'Ünïcode "x"'],
      database: 'postgres',
    })
  })
  afterAll(() => engine?.close())
  beforeEach(async () => {
    one = await connect(engine)
    two = await connect(engine)
  })
  afterEach(() => Promise.all([one.leave(), two.leave()]))

  it('runs as the role of the login, with any name', async () => {
    const odd = await connect(engine, 'Ünïcode "x"')
    expect(await odd.value('select current_user')).toBe('Ünïcode "x"')
    expect(await one.value('select session_user')).toBe('app')
    expect(await odd.value('select session_user')).toBe('Ünïcode "x"')
    await odd.leave()
  })

  it.each([
    'set session authorization postgres',
    'set session authorization admin',
    `select set_config('session_authorization', 'postgres', false)`,
    `do $$ begin execute 'set session ' || 'authorization postgres'; end $$`,
    'begin; set local session authorization postgres',
    `create function public.f() returns int language sql set session_authorization = 'postgres' return 1`,
  ])('does not let a client become somebody else by %s', async (sql) => {
    const { errors } = await one.query(sql)
    expect(errors).toMatchObject([
      { code: '42501', message: 'permission denied to set session authorization' },
    ])
    await one.query('rollback')
    expect(await one.value('select session_user')).toBe('app')
    expect((await one.query('create role intruder')).errors[0]?.code).toBe('42501')
  })

  it.each(['reset session authorization', 'discard all', 'set session authorization default'])(
    'lets a client go back to itself by %s',
    async (sql) => {
      expect((await one.query(sql)).errors).toEqual([])
      expect(await one.value('select session_user')).toBe('app')
    },
  )

  it('keeps SET ROLE to its session', async () => {
    const admin = await connect(engine, 'admin')
    await admin.query('create role team; grant team to admin')
    expect((await admin.query('set role team')).errors).toEqual([])
    expect(await one.value('select current_user')).toBe('app')
    expect(await admin.value('select current_user')).toBe('team')
    await admin.query('reset role; drop role team')
    await admin.leave()
  })

  it('ends a session whose role is gone', async () => {
    const admin = await connect(engine, 'admin')
    await admin.query('create role leaving login')
    const client = await connect(engine, 'leaving')
    await admin.query('drop role leaving')
    const failure = client.query('select 1')
    await expect(failure).rejects.toThrow(/role .*leaving.* does not exist/)
    await admin.leave()
  })

  it('lets admin make tables, schemas and roles, and nobody else roles', async () => {
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
    expect((await one.query('create schema s')).errors[0]?.code).toBe('42501')
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
  ])('refuses a session with %s', async (_label, role, parameters, sqlState) => {
    await expect(connect(engine, role, parameters)).rejects.toMatchObject({
      sqlState,
      severity: 'FATAL',
    })
    expect(await one.value('select 1')).toBe('1')
  })

  it('refuses another database', async () => {
    await expect(connect(engine, 'app', {}, 'other')).rejects.toMatchObject({
      sqlState: '3D000',
      message: 'database "other" does not exist',
    })
  })
})

describe("the engine's own SQL", () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await startPgliteEngine({ roles: ['admin', 'app'], database: 'postgres' })
  })
  afterAll(() => engine?.close())

  // Each takes the place of one of pg_catalog for whoever has `public` in front, and makes `app` a superuser for whoever may.
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

  it('finds nothing that others have made, whatever their search path says', async () => {
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
      for (const sql of ['listen x', 'prepare p as select 1', 'execute p', 'unlisten x'])
        expect((await client.query(sql)).errors).toEqual([])
      // What the path of the session says holds for what is its own.
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
