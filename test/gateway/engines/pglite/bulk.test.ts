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

describe('bulk data on PGlite', () => {
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

  it('accepts the data of a COPY in pieces', async () => {
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

  it('accepts a COPY and the following messages in one piece', async () => {
    one.send(
      query('copy t from stdin'),
      copyData('1\n2\n'),
      COPY_DONE,
      query('select sum(i) from t'),
    )
    expect((await one.answer()).tags).toEqual(['COPY 2'])
    expect((await one.answer()).rows).toEqual([['3']])
  })

  it('accepts a COPY of the extended protocol, and ignores its first Sync', async () => {
    one.send(parse('', 'copy t from stdin'), bind(''), execute(), SYNC)
    await one.next('G')
    one.send(copyData('1\n'), COPY_DONE, SYNC)
    expect(await one.answer()).toMatchObject({ tags: ['COPY 1'], status: 'I' })
    expect(await two.value('select count(*) from t')).toBe('1')
  })

  it('refuses a COPY that cannot get data, and continues', async () => {
    await one.query('set standard_conforming_strings = off; create table unseen (i int)')
    // With this setting the COPY is not part of the string literal, as which it would otherwise be parsed.
    const { errors } = await one.query(`select '\\''; copy unseen from stdin; select '\\''`)
    expect(errors).toMatchObject([{ code: '57014' }])
    expect(await one.value('select 1')).toBe('1')
    await one.query('reset standard_conforming_strings; drop table unseen')
  })

  it('ends a COPY that the client aborts, and one with invalid data', async () => {
    one.send(query('copy t from stdin'), copyData('1\n'), copyFail('changed my mind'))
    expect((await one.answer()).errors).toMatchObject([
      { code: '57014', message: 'COPY from stdin failed: changed my mind' },
    ])
    one.send(query('copy t from stdin'), copyData('x\n'), copyData('2\n'), COPY_DONE)
    expect((await one.answer()).errors).toMatchObject([{ code: '22P02' }])
    expect(await one.value('select count(*) from t')).toBe('0')
  })

  it('rolls back the COPY of a client that disconnects', async () => {
    const three = await connect(engine)
    three.send(query('copy t from stdin'), copyData('1\n'))
    await three.next('G')
    three.session.destroy()
    expect(await two.value('select count(*) from t')).toBe('0')
  })

  it('cancels a COPY when its next data arrives', async () => {
    one.send(query('copy t from stdin'))
    await one.next('G')
    one.session.cancel()
    one.send(copyData('1\n'.repeat(10_000)), COPY_DONE)
    expect((await one.answer()).errors).toMatchObject([{ code: '57014' }])
  })

  it('copies rows out', async () => {
    await one.query('insert into t select generate_series(1, 20000)')
    one.send(query('copy t to stdout'))
    const { types, tags } = await one.answer()
    expect(types).toBe(`H${'d'.repeat(20_000)}cCZ`)
    expect(tags).toEqual(['COPY 20000'])
  })

  it('does not slow down other clients if one client does not read', async () => {
    one.session.pause()
    one.send(query(`select repeat('x', 900000)`))
    expect(
      (await two.query(`select repeat('y', 100000) from generate_series(1, 100)`)).rows,
    ).toHaveLength(100)
    one.session.resume()
    expect((await one.answer()).rows).toHaveLength(1)
  })

  it('limits the input of a client to what the engine can process', async () => {
    await two.query('begin')
    const flowing = one.session.write(query(`select '${'x'.repeat(300_000)}'`))
    expect(flowing).toBe(false)
    const drained = once(one.session, 'drain')
    await two.query('commit')
    await drained
    expect((await one.answer()).rows).toHaveLength(1)
  })

  it('returns a value of 100 MB', async () => {
    const { rows } = await one.query(
      `select string_agg(c, '') from (select repeat(chr(97 + i % 26), 1000000) c from generate_series(0, 99) i) x`,
    )
    const [[value]] = rows as [[string]]
    expect(value).toHaveLength(100_000_000)
    expect([value[0], value[1_000_000], value.at(-1)]).toEqual(['a', 'b', 'v'])
  })

  it('returns any parameters, however their messages are split', async () => {
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
