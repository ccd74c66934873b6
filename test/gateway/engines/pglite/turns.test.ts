import type { Engine } from '../../../../gateway/engines/engine.js'
import { startPgliteEngine } from '../../../../gateway/engines/pglite/pglite-engine.js'
import {
  bind,
  connect,
  execute,
  FLUSH,
  parse,
  query,
  SYNC,
  type ProtocolClient,
} from './protocol-client.js'

describe('turns of sessions on PGlite', () => {
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

  it('shows nothing of a transaction to others before it commits', async () => {
    await one.query(`begin; insert into t values ('x')`)
    const seen = two.value('select count(*) from t')
    await one.query(`insert into t values ('y')`)
    await one.query('commit')
    expect(await seen).toBe('2')
  })

  it('answers those who wait in the order in which they came', async () => {
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

  it('lets others in between the queries of a pipeline', async () => {
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

  it('answers 50 queued queries of each of 5 sessions in their orders', async () => {
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

  it('tells one that waits for too long why, and serves it later', async () => {
    await one.query('begin')
    const { errors, status, types } = await two.query('select 1')
    expect(errors).toMatchObject([
      {
        severity: 'ERROR',
        code: '55P03',
        message: expect.stringMatching(
          /^canceling statement due to lock timeout: .* "lockTimeoutMs" \(\d+ ms\)/,
        ) as string,
        hint: expect.stringContaining('startGateway({ upstream })') as string,
      },
    ])
    expect([status, types]).toEqual(['I', 'EZ'])
    await one.query('commit')
    expect(await two.value('select 1')).toBe('1')
  })

  it('skips the whole batch of one that waits for too long, and runs the next', async () => {
    await one.query('begin')
    two.send(parse('', 'select 1'), bind(''), execute(), FLUSH)
    expect((await two.next('E')).body.toString()).toContain('55P03')
    two.send(parse('', 'select 2'), bind(''), execute(), SYNC)
    expect(await two.answer()).toMatchObject({ types: 'Z', status: 'I' })
    await one.query('commit')
    two.send(parse('', 'select 3'), bind(''), execute(), SYNC)
    expect((await two.answer()).rows).toEqual([['3']])
  })

  it('refuses a session that waits for too long', async () => {
    await one.query('begin')
    await expect(connect(engine)).rejects.toMatchObject({ sqlState: '55P03' })
    await one.query('commit')
    await (await connect(engine)).leave()
  })

  it('rolls back the transaction of one that vanishes', async () => {
    const three = await connect(engine)
    await three.query(`begin; insert into t values ('lost')`)
    three.session.destroy()
    expect(await two.value('select count(*) from t')).toBe('0')
  })

  it('rolls back a batch that never got its Sync', async () => {
    const three = await connect(engine)
    three.send(parse('', `insert into t values ('lost')`), bind(''), execute(), FLUSH)
    await three.next('C')
    const seen = two.value('select count(*) from t')
    three.session.destroy()
    expect(await seen).toBe('0')
  })

  it('keeps what was sent before the client left', async () => {
    const three = await connect(engine)
    three.send(query(`insert into t values ('kept')`), query(`insert into t values ('kept')`))
    await three.leave()
    expect(await two.value('select count(*) from t')).toBe('2')
  })

  it('keeps nothing of a batch that was not whole when the client left', async () => {
    const three = await connect(engine)
    three.send(parse('', `insert into t values ('lost')`), bind(''), execute())
    await three.leave()
    expect(await two.value('select count(*) from t')).toBe('0')
  })

  it('lets go of a session that waits and vanishes', async () => {
    const three = await connect(engine)
    await one.query('begin')
    three.send(query(`insert into t values ('x')`))
    three.session.destroy()
    await one.query('commit')
    expect(await two.value('select count(*) from t')).toBe('0')
  })

  it('holds a failed transaction until it is rolled back', async () => {
    await one.query('begin')
    expect((await one.query('select 1/0')).status).toBe('E')
    expect((await two.query('select 1')).errors[0]?.code).toBe('55P03')
    expect((await one.query('select 1')).errors[0]?.code).toBe('25P02')
    expect((await one.query('rollback')).status).toBe('I')
    expect(await two.value('select 1')).toBe('1')
  })
})
