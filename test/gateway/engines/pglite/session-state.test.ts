import type { Engine } from '../../../../gateway/engines/engine.js'
import { startPgliteEngine } from '../../../../gateway/engines/pglite/pglite-engine.js'
import { connect, query, type ProtocolClient } from './protocol-client.js'

describe('the state of a session on PGlite', () => {
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

  it('reports the settings of a server, and those of the startup packet', async () => {
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
  ])('keeps a setting made by %s out of the other session', async (_label, sql) => {
    expect((await one.query(sql)).errors).toEqual([])
    expect(await two.value('show work_mem')).toBe('4MB')
    expect(await one.value('show work_mem')).toBe('7MB')
    await two.query(`set work_mem = '8MB'`)
    expect(await one.value('show work_mem')).toBe('7MB')
    expect(await two.value('show work_mem')).toBe('8MB')
  })

  it('keeps settings of every kind through the turns of others', async () => {
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

  it('knows a custom setting only in the session that has set it', async () => {
    const read = `select current_setting('app.tenant', true)`
    await one.query(`set app.tenant = 'one'`)
    expect(await two.value(read)).toBeNull()
    expect((await two.query(`select current_setting('app.tenant')`)).errors[0]?.code).toBe('42704')
    await two.query(`set app.tenant = 'two'`)
    expect(await one.value(read)).toBe('one')
    expect(await two.value(read)).toBe('two')
    const three = await connect(engine)
    expect(await three.value(read)).toBeNull()
    await three.leave()
  })

  it('forgets a custom setting of a transaction as PostgreSQL does', async () => {
    const read = `select current_setting('app.user', true)`
    await one.query('begin')
    await one.query(`select set_config('app.user', 'x', true)`)
    expect(await one.value(read)).toBe('x')
    await one.query('commit')
    expect(await two.value(read)).toBeNull()
    // PostgreSQL, too, knows the name from then on.
    expect(await one.value(read)).toBe('')
  })

  it('forgets a custom setting of a transaction that came all at once', async () => {
    one.send(query('begin'), query(`select set_config('app.step', 'x', true)`), query('commit'))
    for (const step of ['begin', 'set', 'commit'])
      expect([step, (await one.answer()).errors]).toEqual([step, []])
    expect(await two.value(`select current_setting('app.step', true)`)).toBeNull()
  })

  it('does not keep what a rolled back transaction has set', async () => {
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
  ])('goes back to the startup packet by %s', async (sql) => {
    const named = await connect(engine, 'app', { application_name: 'started' })
    await named.query(`set application_name = 'changed'`)
    expect((await named.query(sql)).errors).toEqual([])
    expect(await named.value('show application_name')).toBe('started')
    await two.query('select 1')
    expect(await named.value('show application_name')).toBe('started')
    await named.leave()
  })

  it('applies what ALTER ROLE and ALTER DATABASE have set, under the startup packet', async () => {
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
