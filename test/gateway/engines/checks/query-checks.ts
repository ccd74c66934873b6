/** Queries, statements and errors, for every client of PostgreSQL. */
import { Client, type DatabaseError } from 'pg'
import type { Gateway } from '../../../../gateway/index.js'
import { pgSettings, withClient } from './gateway-clients.js'

export function describeQueries(gatewayOf: () => Gateway): void {
  it('runs simple queries and returns their rows and command tags', () =>
    withClient(gatewayOf(), async (client) => {
      const result = await client.query('select 1 as one, null as nothing union all select 2, null')
      expect(result.rows).toEqual([
        { one: 1, nothing: null },
        { one: 2, nothing: null },
      ])
      expect(result).toMatchObject({ command: 'SELECT', rowCount: 2 })
    }))

  it('runs several statements of one simple query', () =>
    withClient(gatewayOf(), async (client) => {
      const results = await client.query('select 1 as a; select 2 as b; select 3 as c')
      expect((results as unknown as { rows: unknown[] }[]).map(({ rows }) => rows[0])).toEqual([
        { a: 1 },
        { b: 2 },
        { c: 3 },
      ])
    }))

  it('answers an empty query', () =>
    withClient(gatewayOf(), async (client) => {
      expect(await client.query('')).toMatchObject({ rows: [] })
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    }))

  it('accepts parameters of every type', () =>
    withClient(gatewayOf(), async (client) => {
      const bytes = Buffer.from(Array.from({ length: 4_096 }, (_, index) => index % 256))
      const values = [42, 'O’Neil; -- "é" 🐘', null, bytes, true, new Date(0), ['a', null, 'b"c']]
      const { rows } = await client.query(
        'select $1::int as i, $2::text as t, $3::text as n, $4::bytea as b, $5::bool as o, $6::timestamptz as d, $7::text[] as a',
        values,
      )
      const [i, t, n, b, o, d, a] = values
      expect(rows).toEqual([{ i, t, n, b, o, d, a }])
    }))

  it('isolates prepared statements with the same name in two clients', () =>
    withClient(gatewayOf(), (one) =>
      withClient(gatewayOf(), async (two) => {
        for (const round of [1, 2, 3]) {
          expect(await firstRow(one, 'select $1::int + 1 as n', [round])).toEqual({ n: round + 1 })
          expect(await firstRow(two, 'select $1::text || $2::text as t', ['x', round])).toEqual({
            t: `x${round}`,
          })
        }
      }),
    ))

  it('answers 50 pipelined queries in order', () =>
    withClient(gatewayOf(), async (client) => {
      const numbers = Array.from({ length: 50 }, (_, index) => index)
      const answers = numbers.map((n) =>
        n % 2 === 0
          ? client.query('select $1::int as n', [n])
          : client.query(`select ${n}::int as n`),
      )
      const rows = (await Promise.all(answers)).map((result) => result.rows[0] as unknown)
      expect(rows).toEqual(numbers.map((n) => ({ n })))
    }))

  it('returns an error with its fields, and continues', () =>
    withClient(gatewayOf(), async (client) => {
      const failure = client.query('select * from no_such_table where id = $1', [1])
      await expect(failure).rejects.toMatchObject({
        severity: 'ERROR',
        code: '42P01',
        message: 'relation "no_such_table" does not exist',
        position: '15',
      })
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    }))

  it('fails one of several queued queries and answers the others', () =>
    withClient(gatewayOf(), async (client) => {
      const answers = await Promise.allSettled([
        client.query('select $1::int as n', [1]),
        client.query('select 1 / $1::int as n', [0]),
        client.query('select $1::int as n', [3]),
      ])
      expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect((answers[1] as { reason: DatabaseError }).reason.code).toBe('22012')
    }))

  it('forwards notices', () =>
    withClient(gatewayOf(), async (client) => {
      const notices: (string | undefined)[] = []
      client.on('notice', ({ message }) => notices.push(message))
      await client.query(`do $$ begin raise notice 'look at %', 'this'; end $$`)
      expect(notices).toEqual(['look at this'])
    }))

  it('applies the settings of the startup packet', () =>
    withClient(
      gatewayOf(),
      async (client) => {
        const { rows } = await client.query(
          `select current_setting('application_name') as name, current_setting('statement_timeout') as timeout`,
        )
        expect(rows).toEqual([{ name: 'check "one"', timeout: '1234ms' }])
      },
      { application_name: 'check "one"', options: '-c statement_timeout=1234' },
    ))

  it('runs statements as the role of the login', async () => {
    const roles = ['app', 'admin'].map(async (user) =>
      withClient(
        gatewayOf(),
        async (client) =>
          (await client.query('select current_user as c, session_user as s')).rows[0] as unknown,
        pgSettings(gatewayOf(), user),
      ),
    )
    expect(await Promise.all(roles)).toEqual([
      { c: 'app', s: 'app' },
      { c: 'admin', s: 'admin' },
    ])
  })

  it('denies a role access to the tables of another role', async () => {
    const gateway = gatewayOf()
    const asAdmin = pgSettings(gateway, 'admin')
    await withClient(gateway, (admin) => admin.query('create table of_admin (id int)'), asAdmin)
    const attempt = withClient(gateway, (app) => app.query('select * from of_admin'))
    await expect(attempt).rejects.toMatchObject({ code: '42501' })
    await withClient(gateway, (admin) => admin.query('drop table of_admin'), asAdmin)
  })

  it('serves 20 clients that log in and query concurrently', async () => {
    const clients = Array.from({ length: 20 }, (_, n) =>
      withClient(gatewayOf(), async (client) => {
        const { rows } = await client.query('select $1::int as n', [n])
        return (rows[0] as { n: number }).n
      }),
    )
    expect(await Promise.all(clients)).toEqual(clients.map((_, n) => n))
  })
}

async function firstRow(client: Client, text: string, values: unknown[]): Promise<unknown> {
  return (await client.query({ name: 'the_statement', text, values })).rows[0]
}
