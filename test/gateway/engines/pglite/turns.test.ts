import type { Engine } from '../../../../gateway/engines/engine.js'
import { startPgliteEngine } from '../../../../gateway/engines/pglite/pglite-engine.js'
import { frontend } from '../../../wire/frontend-messages.js'
import {
  bind,
  connect,
  execute,
  FLUSH,
  parse,
  type ProtocolClient,
  query,
  SYNC,
} from './protocol-client.js'

describe('sessions that take turns on PGlite', () => {
  let engine: Engine
  let one: ProtocolClient
  let two: ProtocolClient

  beforeAll(async () => {
    engine = await startPgliteEngine({
      roles: ['app'],
      database: 'postgres',
      lockTimeoutMs: 60_000,
      idleInTransactionTimeoutMs: 60_000,
    })
  })
  afterAll(() => engine?.close())
  beforeEach(async () => {
    one = await connect(engine)
    two = await connect(engine)
    await one.query('create table t (v text)')
  })
  afterEach(async () => {
    await one.leave()
    await two.query('drop table t')
    await two.leave()
  })

  it('do not see changes of a transaction before it commits', async () => {
    await one.query(`begin; insert into t values ('x')`)
    const seen = two.value('select count(*) from t')
    await one.query(`insert into t values ('y')`)
    await one.query('commit')
    expect(await seen).toBe('2')
  })

  it('are served in the order of their requests', async () => {
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect(engine)))
    await one.query('begin')
    const order: number[] = []
    const answers = clients.map(async (client, index) => {
      await client.query('select 1')
      order.push(index)
    })
    await one.query('commit')
    await Promise.all(answers)
    expect(order).toEqual(clients.map((_, index) => index))
    await Promise.all(clients.map((client) => client.leave()))
  })

  it('can run between the pipelined queries of another session', async () => {
    await one.query('begin')
    const waiting = two.query(`insert into t values ('two')`)
    one.send(
      query('commit'),
      ...Array.from({ length: 10 }, () => query(`insert into t values ('one')`)),
    )
    for (let answers = 0; answers < 11; answers++) await one.answer()
    await waiting
    const before = await one.value(
      `select count(*) from t where ctid < (select ctid from t where v = 'two')`,
    )
    expect(Number(before)).toBeLessThan(10)
  })

  it('get replies to 50 queued queries of each of 5 sessions in order', async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => connect(engine)))
    const numbers = Array.from({ length: 50 }, (_, index) => index)
    await Promise.all(
      clients.map(async (client) => {
        client.send(
          ...numbers.flatMap((n) => [
            parse('', 'select $1::int'),
            bind('', [String(n)]),
            execute(),
            SYNC,
          ]),
        )
        for (const n of numbers) expect((await client.answer()).rows).toEqual([[String(n)]])
      }),
    )
    await Promise.all(clients.map((client) => client.leave()))
  })

  it('roll back the transaction of a client that disconnects', async () => {
    const three = await connect(engine)
    await three.query(`begin; insert into t values ('lost')`)
    three.session.destroy()
    expect(await two.value('select count(*) from t')).toBe('0')
  })

  it('roll back a batch without a Sync', async () => {
    const three = await connect(engine)
    three.send(parse('', `insert into t values ('lost')`), bind(''), execute(), FLUSH)
    await three.next('C')
    const seen = two.value('select count(*) from t')
    three.session.destroy()
    expect(await seen).toBe('0')
  })

  it('run the statements that a client sent before it disconnected', async () => {
    const three = await connect(engine)
    three.send(query(`insert into t values ('kept')`), query(`insert into t values ('kept')`))
    await three.leave()
    expect(await two.value('select count(*) from t')).toBe('2')
  })

  it('discard an incomplete batch of a client that disconnected', async () => {
    const three = await connect(engine)
    three.send(parse('', `insert into t values ('lost')`), bind(''), execute())
    await three.leave()
    expect(await two.value('select count(*) from t')).toBe('0')
  })

  it('remove a waiting session that disconnects from the queue', async () => {
    const three = await connect(engine)
    await one.query('begin')
    three.send(query(`insert into t values ('x')`))
    three.session.destroy()
    await one.query('commit')
    expect(await two.value('select count(*) from t')).toBe('0')
  })

  it('can be cancelled while they wait', async () => {
    await one.query('begin')
    const waiting = two.query('select 1')
    two.session.cancel()
    expect((await waiting).errors).toMatchObject([
      { code: '57014', message: 'canceling statement due to user request' },
    ])
    two.session.cancel()
    await one.query('commit')
    expect(await two.value('select 1')).toBe('1')
  })

  it.each([
    ['a temporary table', 'create temp table held (i int)', 'drop table held'],
    ['a cursor', 'begin; declare held cursor with hold for select 1; commit', 'close held'],
    ['an advisory lock', 'select pg_advisory_lock(7)', 'select pg_advisory_unlock(7)'],
  ])('keep the turn while they have %s', async (_label, take, give) => {
    expect((await one.query(take)).errors).toEqual([])
    const waiting = two.value('select 1')
    expect(await one.value('select 2')).toBe('2')
    let isServed = false
    void waiting.then(() => (isServed = true))
    expect(await one.value('select 3')).toBe('3')
    expect(isServed).toBe(false)
    expect((await one.query(give)).errors).toEqual([])
    expect(await waiting).toBe('1')
  })

  it('reject LISTEN with a hint', async () => {
    expect((await one.query('listen channel')).errors).toMatchObject([
      { code: '0A000', hint: 'Use the engine "postgres".' },
    ])
  })
})

describe('the time limit for waiting on PGlite', () => {
  let engine: Engine
  let one: ProtocolClient
  let two: ProtocolClient

  beforeAll(async () => {
    engine = await startPgliteEngine({
      roles: ['app'],
      database: 'postgres',
      lockTimeoutMs: 1_000,
      idleInTransactionTimeoutMs: 60_000,
    })
    one = await connect(engine)
    two = await connect(engine)
  })
  afterAll(async () => {
    await Promise.all([one?.leave(), two?.leave()])
    await engine?.close()
  })

  it('fails a statement with an explanation, and later statements are served', async () => {
    await one.query('begin')
    const { errors, status, types } = await two.query('select 1')
    expect(errors).toMatchObject([
      {
        severity: 'ERROR',
        code: '55P03',
        message: expect.stringMatching(
          /^canceling statement due to lock timeout: .* "lockTimeoutMs" \(\d+ ms\)/,
        ) as string,
        hint: expect.stringContaining('Use the engine "postgres"') as string,
      },
    ])
    expect([status, types]).toEqual(['I', 'EZ'])
    await one.query('commit')
    expect(await two.value('select 1')).toBe('1')
  })

  it('skips the whole batch that waits too long, and runs the next one', async () => {
    await one.query('begin')
    two.send(parse('', 'select 1'), bind(''), execute(), FLUSH)
    expect((await two.next('E')).body.toString()).toContain('55P03')
    two.send(parse('', 'select 2'), bind(''), execute(), SYNC)
    expect(await two.answer()).toMatchObject({ types: 'Z', status: 'I' })
    await one.query('commit')
    two.send(parse('', 'select 3'), bind(''), execute(), SYNC)
    expect((await two.answer()).rows).toEqual([['3']])
  })

  it('refuses a new session that waits too long', async () => {
    await one.query('begin')
    await expect(connect(engine)).rejects.toMatchObject({ sqlState: '55P03' })
    await one.query('commit')
    await (await connect(engine)).leave()
  })

  it('keeps a failed transaction open until it is rolled back', async () => {
    await one.query('begin')
    expect((await one.query('select 1/0')).status).toBe('E')
    expect((await two.query('select 1')).errors[0]?.code).toBe('55P03')
    expect((await one.query('select 1')).errors[0]?.code).toBe('25P02')
    expect((await one.query('rollback')).status).toBe('I')
    expect(await two.value('select 1')).toBe('1')
  })
})

describe('sessions that block others on PGlite', () => {
  let engine: Engine
  let one: ProtocolClient
  let two: ProtocolClient

  beforeAll(async () => {
    engine = await startPgliteEngine({
      roles: ['app'],
      database: 'postgres',
      lockTimeoutMs: 60_000,
      idleInTransactionTimeoutMs: 300,
    })
  })
  afterAll(() => engine?.close())
  beforeEach(async () => {
    one = await connect(engine)
    two = await connect(engine)
    await two.query('create table t (i int)')
  })
  afterEach(async () => {
    await two.query('drop table t')
    await Promise.all([one.leave(), two.leave()])
  })

  const TOO_LONG = {
    severity: 'ERROR',
    code: '25P03',
    message: expect.stringMatching(
      /idle-in-transaction timeout: .* "idleInTransactionTimeoutMs" \(\d+ ms\)/,
    ) as string,
    hint: expect.stringContaining('Use the engine "postgres"') as string,
  }

  it('get an error, and are in a failed transaction until they end it', async () => {
    await one.query('begin; insert into t values (1)')
    expect(await two.value('select count(*) from t')).toBe('0')
    const first = await one.query('select 1')
    expect(first).toMatchObject({ errors: [TOO_LONG], status: 'E' })
    one.send(parse('', 'select 1'), bind(''), execute(), SYNC)
    expect(await one.answer()).toMatchObject({ errors: [{ code: '25P02' }], status: 'E' })
    expect(await one.query('rollback to savepoint s')).toMatchObject({ status: 'E' })
    expect(await one.query('rollback')).toMatchObject({
      tags: ['ROLLBACK'],
      types: 'CZ',
      status: 'I',
    })
    expect(await one.value('select 1')).toBe('1')
  })

  it('get the error at COMMIT, so that they know that nothing was committed', async () => {
    await one.query('begin; insert into t values (1)')
    expect(await two.value('select count(*) from t')).toBe('0')
    expect(await one.query('commit')).toMatchObject({ errors: [TOO_LONG], status: 'I' })
    expect(await one.value('select count(*) from t')).toBe('0')
  })

  it('can end the failed transaction with ROLLBACK of the extended protocol', async () => {
    await one.query('begin')
    expect(await two.value('select 1')).toBe('1')
    one.send(parse('', 'rollback'), bind(''), execute(), SYNC)
    expect(await one.answer()).toMatchObject({ types: '12CZ', status: 'I', errors: [] })
  })

  it('get the error within a batch, whose rest is skipped', async () => {
    one.send(parse('', 'insert into t values (1)'), bind(''), execute(), FLUSH)
    await one.next('C')
    expect(await two.value('select count(*) from t')).toBe('0')
    expect((await one.next('E')).body.toString()).toContain('25P03')
    one.send(bind(''), execute(), SYNC)
    expect((await one.answer()).status).toBe('I')
    expect(await one.value('select count(*) from t')).toBe('0')
  })

  it('get the error in place of the end of a COPY without data', async () => {
    one.send(query('copy t from stdin'))
    await one.next('G')
    expect(await two.value('select count(*) from t')).toBe('0')
    expect(await one.answer()).toMatchObject({ errors: [TOO_LONG], status: 'I' })
    one.send(frontend('d', Buffer.from('1\n')), frontend('c'))
    expect(await one.value('select count(*) from t')).toBe('0')
  })

  it('lose their temporary tables, and get an error', async () => {
    await one.query('create temp table held (i int)')
    expect(await two.value('select 1')).toBe('1')
    expect(await one.query('select * from held')).toMatchObject({ errors: [TOO_LONG], status: 'I' })
    expect((await one.query('select * from held')).errors).toMatchObject([{ code: '42P01' }])
  })

  it('are ended if they do not read their results', async () => {
    one.session.pause()
    one.send(query(`select repeat('x', 10000) from generate_series(1, 10000)`))
    expect(await two.value('select 1')).toBe('1')
    // The statement had to wait; only a small part of its 100 MB has arrived.
    expect(one.session.readableLength).toBeLessThan(20_000_000)
    one.session.resume()
    const { errors, types } = await one.ended()
    // If the result was cut within a row, no error can be sent.
    expect(errors.every(({ code }) => code === '25P03')).toBe(true)
    expect(types).not.toContain('Z')
  })

  it('are not affected if no other session waits, or if they continue', async () => {
    await one.query('begin')
    for (let turn = 0; turn < 20; turn++) {
      const waiting = two.value('select count(*) from t')
      await one.query('insert into t values (1)')
      expect((await one.query('commit')).errors).toEqual([])
      expect(await waiting).toBe(String(turn + 1))
      await one.query('begin')
    }
    await one.query('commit')
  })
})
