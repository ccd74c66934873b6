/** Large results, large parameters, cursors and COPY. */
import { createHash } from 'node:crypto'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import type { Gateway } from '../../../../gateway/index.js'
import { withClient, withPostgresJs } from './gateway-clients.js'

export function describeBulk(gatewayOf: () => Gateway): void {
  it('returns a result of 100,000 rows', () =>
    withClient(gatewayOf(), async (client) => {
      const { rows } = await client.query({
        text: `select i, 'row ' || i as t from generate_series(1, 100000) i`,
        rowMode: 'array',
      })
      expect(rows).toHaveLength(100_000)
      expect(rows.at(-1)).toEqual([100_000, 'row 100000'])
      expect(rows.reduce((sum, row) => sum + (row as [number])[0], 0)).toBe(5_000_050_000)
    }))

  it('accepts a parameter of 5 MB and returns it', () =>
    withClient(gatewayOf(), async (client) => {
      const large = Buffer.alloc(5_000_000, 'abcdefghij').toString('latin1')
      const { rows } = await client.query('select md5($1::text) as md5, $1::text as text', [large])
      const md5 = createHash('md5').update(large).digest('hex')
      const [row] = rows as { md5: string; text: string }[]
      expect(row?.md5).toBe(md5)
      expect(row?.text === large).toBe(true)
    }))

  it('reads a cursor in portions', () =>
    withClient(gatewayOf(), async (client) => {
      const cursor = client.query(
        new Cursor('select i from generate_series(1, 1000) i where i > $1', [0]),
      )
      const read: number[] = []
      for (;;) {
        const rows = (await cursor.read(300)) as { i: number }[]
        if (rows.length === 0) break
        read.push(...rows.map(({ i }) => i))
      }
      await cursor.close()
      expect(read).toEqual(Array.from({ length: 1_000 }, (_, index) => index + 1))
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    }))

  it('closes a cursor that was partially read', () =>
    withClient(gatewayOf(), async (client) => {
      const cursor = client.query(new Cursor('select i from generate_series(1, 1000) i'))
      expect(await cursor.read(2)).toEqual([{ i: 1 }, { i: 2 }])
      await cursor.close()
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    }))

  it('copies rows in and out through pg', () =>
    withClient(gatewayOf(), async (client) => {
      await client.query('create table copied (i int, t text)')
      const lines = Array.from({ length: 20_000 }, (_, i) => `${i}\ttext of ${i} é\n`)
      await pipeline(Readable.from(lines), client.query(copyFrom('copy copied from stdin')))
      const received: Buffer[] = []
      await pipeline(
        client.query(copyTo('copy (select * from copied order by i) to stdout')),
        new Writable({
          write(chunk: Buffer, _encoding, done) {
            received.push(chunk)
            done()
          },
        }),
      )
      expect(Buffer.concat(received).toString() === lines.join('')).toBe(true)
      await client.query('drop table copied')
    }))

  it('discards the rows of a failed COPY, and continues', () =>
    withClient(gatewayOf(), async (client) => {
      await client.query('create table miscopied (i int)')
      const copying = pipeline(
        Readable.from(['1\n', 'not a number\n']),
        client.query(copyFrom('copy miscopied from stdin')),
      )
      await expect(copying).rejects.toMatchObject({ code: '22P02' })
      expect((await client.query('select count(*)::int as n from miscopied')).rows).toEqual([
        { n: 0 },
      ])
      await client.query('drop table miscopied')
    }))

  it('discards the rows of a COPY that the client aborts', () =>
    withClient(gatewayOf(), async (client) => {
      await client.query('create table uncopied (i int)')
      const given = new Error('given up')
      const source = Readable.from(
        (function* rows() {
          yield '1\n'
          throw given
        })(),
      )
      const copying = pipeline(source, client.query(copyFrom('copy uncopied from stdin')))
      await expect(copying).rejects.toThrow()
      expect((await client.query('select count(*)::int as n from uncopied')).rows).toEqual([
        { n: 0 },
      ])
      await client.query('drop table uncopied')
    }))

  it('copies rows in and out through Postgres.js', () =>
    withPostgresJs(gatewayOf(), { max: 1 }, async (sql) => {
      await sql`create table copied_too (i int)`
      const lines = Array.from({ length: 5_000 }, (_, i) => `${i}\n`)
      await pipeline(
        Readable.from([lines.join('')]),
        await sql`copy copied_too from stdin`.writable(),
      )
      const received: Buffer[] = []
      const out = await sql`copy (select i from copied_too order by i) to stdout`.readable()
      for await (const chunk of out) received.push(chunk as Buffer)
      expect(Buffer.concat(received).toString() === lines.join('')).toBe(true)
      await sql`drop table copied_too`
    }))
}
