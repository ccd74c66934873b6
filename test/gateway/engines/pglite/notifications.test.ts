import type { Engine } from '../../../../gateway/engines/engine.js'
import { startPgliteEngine } from '../../../../gateway/engines/pglite/pglite-engine.js'
import { connect, type ProtocolClient } from './protocol-client.js'

describe('notifications on PGlite', () => {
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

  const notified = async (client: ProtocolClient): Promise<string[]> =>
    (await client.next('A')).body.toString('utf8', 4).split('\0').slice(0, 2)
  /** What was sent before a query has come when its answer has. */
  const expectNone = async (client: ProtocolClient): Promise<void> => {
    await client.query('select 1')
    expect(client.unread).toBe(0)
  }

  it('come to those who listen, and to nobody else', async () => {
    await one.query('listen news')
    await two.query(`notify news, 'first'`)
    expect(await notified(one)).toEqual(['news', 'first'])
    await expectNone(two)
  })

  it('come to all who listen, to the one that sent them, too', async () => {
    await one.query('listen news')
    await two.query('listen news')
    await two.query(`notify news, 'to all'`)
    expect(await notified(one)).toEqual(['news', 'to all'])
    expect(await notified(two)).toEqual(['news', 'to all'])
  })

  it('come when their transaction commits', async () => {
    await one.query('listen news')
    await two.query(`begin; notify news, 'lost'; rollback`)
    await two.query(`begin; select pg_notify('news', 'kept')`)
    await two.query('commit')
    expect(await notified(one)).toEqual(['news', 'kept'])
  })

  it('end with UNLISTEN, for that session alone', async () => {
    for (const client of [one, two]) await client.query('listen news; listen "Other Channel"')
    await one.query('unlisten news')
    await two.query(`notify news, '1'; notify "Other Channel", '2'`)
    expect(await notified(two)).toEqual(['news', '1'])
    expect(await notified(one)).toEqual(['Other Channel', '2'])
    await two.query('unlisten *')
    await one.query(`notify "Other Channel", '3'`)
    expect(await notified(one)).toEqual(['Other Channel', '3'])
  })

  it('go on for others after a DISCARD ALL', async () => {
    for (const client of [one, two]) await client.query('listen news')
    await one.query('discard all')
    await one.query(`notify news, 'x'`)
    expect(await notified(two)).toEqual(['news', 'x'])
    await expectNone(one)
  })

  it('are not listened to after a rollback', async () => {
    const three = await connect(engine)
    await three.query('listen news')
    await one.query('begin; listen news; rollback')
    await one.query('listen news; select 1/0')
    await two.query(`notify news, 'x'`)
    expect(await notified(three)).toEqual(['news', 'x'])
    await expectNone(one)
    await three.leave()
  })

  it('end with their session', async () => {
    const three = await connect(engine)
    await three.query('listen news')
    await three.leave()
    expect((await one.query(`notify news, 'x'`)).types).toBe('CZ')
    await two.query('listen news')
    await one.query(`notify news, 'y'`)
    expect(await notified(two)).toEqual(['news', 'y'])
  })
})
