import { once } from 'node:events'
import * as fc from 'fast-check'
import type { Engine } from '../../../../gateway/engines/engine.js'
import { startPgliteEngine } from '../../../../gateway/engines/pglite/pglite-engine.js'
import { frontend, text } from '../../../wire/frontend-messages.js'
import {
  bind,
  connect,
  execute,
  parse,
  type ProtocolClient,
  query,
  SYNC,
} from './protocol-client.js'

const copyData = (data: string | Buffer): Buffer => frontend('d', Buffer.from(data))
const COPY_DONE = frontend('c')
const copyFail = (reason: string): Buffer => frontend('f', text(reason))

describe('bulk on PGlite', () => {
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
    await one.query('create table t (i int)')
  })
  afterEach(async () => {
    await one.query('drop table t')
    await Promise.all([one.leave(), two.leave()])
  })

  it('takes the data of a COPY as it comes', async () => {
    one.send(query('copy t from stdin'))
    await one.next('G')
    for (let row = 0; row < 100; row++) {
      one.send(copyData(`${row}`), copyData('\n'))
      if (row % 10 === 0) await new Promise(setImmediate)
    }
    one.send(COPY_DONE)
    expect(await one.answer()).toMatchObject({ tags: ['COPY 100'], status: 'I' })
    expect(await two.value('select sum(i) from t')).toBe('4950')
  })

  it('takes a COPY all in one, and what follows it', async () => {
    one.send(
      query('copy t from stdin'),
      copyData('1\n2\n'),
      COPY_DONE,
      query('select sum(i) from t'),
    )
    expect((await one.answer()).tags).toEqual(['COPY 2'])
    expect((await one.answer()).rows).toEqual([['3']])
  })

  it('takes a COPY of the extended protocol, whose first Sync does not count', async () => {
    one.send(parse('', 'copy t from stdin'), bind(''), execute(), SYNC)
    await one.next('G')
    one.send(copyData('1\n'), COPY_DONE, SYNC)
    expect(await one.answer()).toMatchObject({ tags: ['COPY 1'], status: 'I' })
    expect(await two.value('select count(*) from t')).toBe('1')
  })

  it('refuses a COPY for which no data can come, and goes on', async () => {
    await one.query('set standard_conforming_strings = off; create table unseen (i int)')
    // With this setting the COPY is no part of the text, as which it would be read otherwise.
    const { errors } = await one.query(`select '\\''; copy unseen from stdin; select '\\''`)
    expect(errors).toMatchObject([{ code: '57014' }])
    expect(await one.value('select 1')).toBe('1')
    await one.query('reset standard_conforming_strings; drop table unseen')
  })

  it('gives up a COPY that the client gives up, and one with wrong data', async () => {
    one.send(query('copy t from stdin'), copyData('1\n'), copyFail('changed my mind'))
    expect((await one.answer()).errors).toMatchObject([
      { code: '57014', message: 'COPY from stdin failed: changed my mind' },
    ])
    one.send(query('copy t from stdin'), copyData('x\n'), copyData('2\n'), COPY_DONE)
    expect((await one.answer()).errors).toMatchObject([{ code: '22P02' }])
    expect(await one.value('select count(*) from t')).toBe('0')
  })

  it('rolls back the COPY of a client that vanishes', async () => {
    const three = await connect(engine)
    three.send(query('copy t from stdin'), copyData('1\n'))
    await three.next('G')
    three.session.destroy()
    expect(await two.value('select count(*) from t')).toBe('0')
  })

  it('cancels a COPY with the next data', async () => {
    one.send(query('copy t from stdin'))
    await one.next('G')
    one.session.cancel()
    one.send(copyData('1\n'.repeat(10_000)), COPY_DONE)
    expect((await one.answer()).errors).toMatchObject([{ code: '57014' }])
  })

  it('copies out', async () => {
    await one.query('insert into t select generate_series(1, 20000)')
    one.send(query('copy t to stdout'))
    const { types, tags } = await one.answer()
    expect(types).toBe(`H${'d'.repeat(20_000)}cCZ`)
    expect(tags).toEqual(['COPY 20000'])
  })

  it('does not let what one client leaves unread slow down another', async () => {
    one.session.pause()
    one.send(query(`select repeat('x', 900000)`))
    expect(
      (await two.query(`select repeat('y', 100000) from generate_series(1, 100)`)).rows,
    ).toHaveLength(100)
    one.session.resume()
    expect((await one.answer()).rows).toHaveLength(1)
  })

  it('takes no more from a client than the engine can take', async () => {
    await two.query('begin')
    const flowing = one.session.write(query(`select '${'x'.repeat(300_000)}'`))
    expect(flowing).toBe(false)
    const drained = once(one.session, 'drain')
    await two.query('commit')
    await drained
    expect((await one.answer()).rows).toHaveLength(1)
  })

  it('gives a value of 100 MB', async () => {
    const { rows } = await one.query(
      `select string_agg(c, '') from (select repeat(chr(97 + i % 26), 1000000) c from generate_series(0, 99) i) x`,
    )
    const [[value]] = rows as [[string]]
    expect(value).toHaveLength(100_000_000)
    expect([value[0], value[1_000_000], value.at(-1)]).toEqual(['a', 'b', 'v'])
  })

  it('gives back any parameters, however their messages are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 200_000, size: 'max' }), {
          minLength: 1,
          maxLength: 4,
        }),
        async (values) => {
          for (const value of values) {
            const bytes = Buffer.from(value)
            const hex = `\\x${bytes.toString('hex')}`
            one.send(
              parse('', 'select $1::bytea, md5($1::bytea)'),
              bind('', [hex]),
              execute(),
              SYNC,
            )
          }
          for (const value of values) {
            const { rows } = await one.answer()
            expect(rows[0]?.[0] === `\\x${Buffer.from(value).toString('hex')}`).toBe(true)
          }
        },
      ),
      { numRuns: 15 },
    )
  })
})
