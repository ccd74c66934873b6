import * as fc from 'fast-check'
import type { Engine } from '../../../../gateway/engines/engine.js'
import { startPgliteEngine } from '../../../../gateway/engines/pglite/pglite-engine.js'
import { anyFrontendMessage, frontend } from '../../../wire/frontend-messages.js'
import {
  bind,
  connect,
  execute,
  parse,
  type ProtocolClient,
  query,
  SYNC,
} from './protocol-client.js'

describe('PGlite', () => {
  let engine: Engine
  let one: ProtocolClient
  let witness: ProtocolClient

  beforeAll(async () => {
    engine = await startPgliteEngine({ roles: ['app'], database: 'postgres' })
    witness = await connect(engine)
    await witness.query('create table witness (i int); insert into witness values (42)')
  })
  afterAll(() => engine?.close())
  beforeEach(async () => {
    one = await connect(engine)
  })
  afterEach(async () => {
    await one.leave()
    expect(await witness.value('select i from witness')).toBe('42')
  })

  it.each([
    [
      'recursion of PL/pgSQL',
      'create or replace function public.rec(n int) returns int language plpgsql as $$ begin return public.rec(n + 1); end $$; select public.rec(1)',
      '54001',
    ],
    [
      'recursion of SQL',
      'create or replace function public.rec2(n int) returns int language sql as $$ select public.rec2(n + 1) $$; select public.rec2(1)',
      '54001',
    ],
    ['a sum of many', `select ${'1+'.repeat(100_000)}1`, '54001'],
    ['parentheses', `select ${'('.repeat(100_000)}1${')'.repeat(100_000)}`, '42601'],
    ['a nested query type', `select repeat('(', 100000)::tsquery`, '54001'],
    ['a regular expression', `select 'a' ~ repeat('(', 50000)`, '2201B'],
  ])('returns an error: %s', async (_label, sql, code) => {
    expect((await one.query(sql)).errors).toMatchObject([{ code }])
    expect(await one.value('select 1')).toBe('1')
  })

  it('rolls a transaction back after a stack overflow', async () => {
    await one.query('begin; delete from witness; savepoint s')
    expect((await one.query(`select ${'1+'.repeat(100_000)}1`)).errors).toMatchObject([
      { code: '54001' },
    ])
    expect((await one.query('rollback to s')).status).toBe('T')
    expect((await one.query('rollback')).status).toBe('I')
  })

  it.each([
    'set idle_in_transaction_session_timeout = 1; begin; select pg_sleep(0.05)',
    'set transaction_timeout = 1; begin; select pg_sleep(0.05)',
    'set idle_session_timeout = 1',
    'select pg_terminate_backend(pg_backend_pid())',
    'select pg_cancel_backend(pg_backend_pid())',
    'select pg_reload_conf()',
    'alter system set work_mem = 1',
    `copy (select 1) to program 'true'`,
    `copy witness from '/etc/passwd'`,
    `load 'plpgsql'`,
    'set max_stack_depth = 100000',
    'update pg_class set relname = relname',
    'drop database postgres',
    'checkpoint',
  ])('survives: %s', async (sql) => {
    await one.query(sql)
    await one.query('select 1')
    await one.query('rollback')
    expect(await one.value('select 1')).toBe('1')
  })

  it('survives messages in any order and with any content', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyFrontendMessage, { maxLength: 12 }), async (messages) => {
        const client = await connect(engine)
        client.send(...messages)
        await client.leave()
        expect(await witness.value('select 1')).toBe('1')
      }),
      { numRuns: 150 },
    )
  })

  it('survives Parse, Bind and Execute messages that do not match', async () => {
    const sql = fc.constantFrom(
      'select $1::int',
      'select $1, $2',
      'begin',
      'commit',
      'rollback',
      'select 1/0',
      '',
      'copy witness to stdout',
      'copy witness from stdin',
      'set app.x = 1',
      'declare c cursor for select 1',
      'fetch c',
      'savepoint s',
      'deallocate all',
      'discard all',
      'listen x',
      'prepare p as select 1',
      'execute p',
    )
    const name = fc.constantFrom('', 'a', 'b')
    const step = fc.oneof(
      fc.tuple(name, sql).map(([statement, text]) => parse(statement, text)),
      fc
        .tuple(name, fc.array(fc.constantFrom('1', 'x'), { maxLength: 3 }), name)
        .map(([statement, values, portal]) => bind(statement, values, portal)),
      fc.tuple(fc.nat(3), name).map(([rows, portal]) => execute(rows, portal)),
      sql.map(query),
      fc.constantFrom(SYNC, frontend('H'), frontend('c'), frontend('d', Buffer.from('1\n'))),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (messages) => {
        const client = await connect(engine)
        client.send(...messages)
        await client.leave()
        expect(await witness.value('select count(*) > 0 from witness')).toBe('t')
      }),
      { numRuns: 150 },
    )
    await witness.query('truncate witness; insert into witness values (42)')
  })
})
