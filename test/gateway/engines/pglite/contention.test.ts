import type { Engine } from '../../../../gateway/engines/engine.js'
import { startPgliteEngine } from '../../../../gateway/engines/pglite/pglite-engine.js'
import {
  bind,
  connect,
  execute,
  FLUSH,
  parse,
  query,
  type ProtocolClient,
} from './protocol-client.js'

describe('sessions that keep others waiting on PGlite', () => {
  let engine: Engine
  let one: ProtocolClient
  let two: ProtocolClient

  beforeAll(async () => {
    engine = await startPgliteEngine({
      roles: ['app'],
      database: 'postgres',
      lockTimeoutMs: 60_000,
      idleInTransactionTimeoutMs: 50,
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

  const expectEnded = async (client: ProtocolClient): Promise<void> => {
    const { errors } = await client.ended()
    expect(errors).toMatchObject([
      {
        severity: 'FATAL',
        code: '25P03',
        message: expect.stringMatching(
          /^terminating connection due to idle-in-transaction timeout: .* "idleInTransactionTimeoutMs" \(\d+ ms\)/,
        ) as string,
      },
    ])
  }

  it('are ended and rolled back when they are idle in a transaction', async () => {
    await one.query('begin; insert into t values (1)')
    expect(await two.value('select count(*) from t')).toBe('0')
    await expectEnded(one)
  })

  it('are ended when they do not end a batch', async () => {
    one.send(parse('', 'insert into t values (1)'), bind(''), execute(), FLUSH)
    await one.next('C')
    expect(await two.value('select count(*) from t')).toBe('0')
    await expectEnded(one)
  })

  it('are ended when they send no data for their COPY', async () => {
    one.send(query('copy t from stdin'))
    await one.next('G')
    expect(await two.value('select count(*) from t')).toBe('0')
    await expectEnded(one)
  })

  it('are ended when they do not read their results', async () => {
    const large = `select repeat('x', 10000) from generate_series(1, 10000)`
    one.session.pause()
    one.send(query(large))
    expect(await two.value('select 1')).toBe('1')
    // The statement had to wait; only a little of its 100 MB is here.
    expect(one.session.readableLength).toBeLessThan(4_000_000)
    one.session.resume()
    const { errors, types } = await one.ended()
    // Where the result broke off in the middle of a row there is no place for an error.
    expect(errors.every(({ code }) => code === '25P03')).toBe(true)
    expect(types).not.toContain('Z')
  })

  it('stay when nobody waits, and when they go on', async () => {
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
