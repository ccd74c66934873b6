/** What the proxy does for Aurora DSQL: settings that it leaves out, and advisory locks that it holds. */
import { Client, type ClientConfig, type QueryArrayResult } from 'pg'
import postgres from 'postgres'
import { lockCallOf } from '../../cli/advisory-locks.js'
import { withoutDroppedParameters } from '../../cli/dropped-settings.js'
import { type Running, startCommand } from './support/command.js'
import { type CommandDatabases, DSQL_URL, RDS_URL, startDatabases } from './support/databases.js'

let databases: CommandDatabases
let proxy: Running
let strict: Running
let port: number
let strictPort: number
let rdsPort: number
const clients: Client[] = []

beforeAll(async () => {
  databases = await startDatabases()
  const start = (...args: string[]): Running =>
    startCommand(['proxy', '--port', '0', '--no-password', ...args], { env: databases.env })
  proxy = start(`a=${DSQL_URL}`, `b=${RDS_URL}`)
  strict = start(DSQL_URL, '--strict')
  port = Number((await proxy.printed(/^a: \S+:(\d+)\/postgres/m))[1])
  rdsPort = Number((await proxy.printed(/^b: \S+:(\d+)\/postgres/m))[1])
  strictPort = Number((await strict.printed(/:(\d+)\/postgres/))[1])
})
afterAll(async () => {
  await Promise.all([proxy?.stop(), strict?.stop()])
  await databases?.close()
})
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end()))
})

async function client(own: ClientConfig = {}): Promise<Client & { notices: string[] }> {
  const one = new Client({ host: '127.0.0.1', port, user: 'app', database: 'postgres', ...own })
  const notices: string[] = []
  one.on('notice', ({ message }) => notices.push(message ?? '')).on('error', () => {})
  await one.connect()
  clients.push(one)
  return Object.assign(one, { notices })
}
/** The results of a simple query, one for each statement: what it is, and its first value. */
async function run(one: Client, sql: string): Promise<string[]> {
  const results = (await one.query({ text: sql, rowMode: 'array' })) as unknown
  return ([results].flat() as QueryArrayResult[]).map(({ command, rows }) =>
    `${command} ${String(rows[0]?.[0] ?? '')}`.trim(),
  )
}
const failure = (
  work: Promise<unknown>,
): Promise<{ code?: string; message: string; position?: string }> =>
  work.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: unknown) => error as Error,
  )
const LEFT_OUT = (name: string): string =>
  `pg-iam left out the setting "${name}", which Aurora DSQL does not support`

describe('settings that Aurora DSQL does not support', () => {
  it('are left out of a simple query, whose other statements run, each with its reply', async () => {
    const one = await client()
    const sql = `SELECT 1; SET statement_timeout = 5000; SET client_min_messages TO warning;
      SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE; SHOW statement_timeout; RESET lock_timeout`
    expect(await run(one, sql)).toEqual(['SELECT 1', 'SET', 'SET', 'SET', 'SHOW 0', 'RESET'])
    expect(one.notices).toEqual(
      ['statement_timeout', 'client_min_messages', 'lock_timeout'].map(LEFT_OUT),
    )
  })

  it('are left out when they are all that a query has, also in a transaction', async () => {
    const one = await client()
    expect(await run(one, 'SET statement_timeout = 1')).toEqual(['SET'])
    expect(await run(one, 'SET lock_timeout = 1; SET SESSION work_mem TO 64')).toEqual([
      'SET',
      'SET',
    ])
    await run(one, 'BEGIN')
    expect(await run(one, 'SET LOCAL statement_timeout = 1;')).toEqual(['SET'])
    expect(await run(one, 'COMMIT')).toEqual(['COMMIT'])
    expect(await run(one, 'SHOW statement_timeout')).toEqual(['SHOW 0'])
  })

  it('are left out of prepared statements, as often as they run', async () => {
    const one = await client()
    const prepared = { name: 'timeout', text: 'SET statement_timeout = 7' }
    for (let time = 0; time < 2; time++) expect((await one.query(prepared)).command).toBe('SET')
    expect((await one.query('SELECT $1::int AS n', [3])).rows).toEqual([{ n: 3 }])
    expect(one.notices).toEqual([LEFT_OUT('statement_timeout'), LEFT_OUT('statement_timeout')])
    expect(await run(one, 'SHOW statement_timeout')).toEqual(['SHOW 0'])
  })

  it('are left out of pipelines, in which every statement keeps its own result', async () => {
    const sql = postgres({
      host: '127.0.0.1',
      port,
      user: 'app',
      database: 'postgres',
      max: 1,
      onnotice() {},
    })
    const results = await Promise.all([
      sql`SELECT 1 AS n`,
      sql`SET statement_timeout = 5`,
      sql`SELECT 2 AS n`,
      sql.unsafe('SET lock_timeout = 5; SELECT 3 AS n'),
      sql`SHOW statement_timeout`,
    ])
    await sql.end()
    expect(results.map((result) => result.flat())).toEqual([
      [{ n: 1 }],
      [],
      [{ n: 2 }],
      [{ n: 3 }],
      [{ statement_timeout: '0' }],
    ])
  })

  it('leave the positions in errors, and nothing of a failed query is answered as done', async () => {
    const one = await client()
    const text = 'SET statement_timeout = 1; SELECT nothing; SET lock_timeout = 1'
    const error = await failure(one.query(text))
    expect([error.code, error.position]).toEqual(['42703', String(text.indexOf('nothing') + 1)])
    await run(one, 'BEGIN')
    await failure(one.query('SELECT 1 / 0'))
    expect((await failure(one.query('SET statement_timeout = 1'))).code).toBe('25P02')
    await run(one, 'ROLLBACK')
    expect(await run(one, 'SELECT 4')).toEqual(['SELECT 4'])
  })

  it('are left out of the startup packet and its options', async () => {
    const one = await client({
      statement_timeout: 5_000,
      options: '-c lock_timeout=5s -c search_path=pg_catalog --work-mem=64',
    } as ClientConfig)
    expect(await run(one, 'SHOW statement_timeout; SHOW search_path')).toEqual([
      'SHOW 0',
      'SHOW pg_catalog',
    ])
  })

  it('are passed on if they decide what statements do, and refused by the server', async () => {
    const options = '-c default_transaction_read_only=on'
    expect(await failure(client({ options }))).toMatchObject(
      refused('default_transaction_read_only'),
    )
    const one = await client()
    for (const [name, value] of [
      ['standard_conforming_strings', 'off'],
      ['app.tenant', '7'],
    ] as const)
      expect(await failure(one.query(`SET ${name} = ${value}`))).toMatchObject(refused(name))
    await run(one, 'SET standard_conforming_strings = on')
    expect(one.notices).toEqual([LEFT_OUT('standard_conforming_strings')])
  })

  it('are all passed on with --strict, and to other databases', async () => {
    const one = await client({ port: rdsPort, statement_timeout: 5_000 })
    expect(await run(one, 'SHOW statement_timeout')).toEqual(['SHOW 5s'])
    await run(one, 'SET statement_timeout = 6000')
    expect(await run(one, 'SHOW statement_timeout')).toEqual(['SHOW 6s'])
    expect(one.notices).toEqual([])
    const setting = { port: strictPort, statement_timeout: 5_000 }
    expect(await failure(client(setting))).toMatchObject(refused('statement_timeout'))
    const strict = await client({ port: strictPort })
    expect(await failure(strict.query('SET statement_timeout = 6000'))).toMatchObject(
      refused('statement_timeout'),
    )
  })

  it('are not seen in texts, names and comments', async () => {
    const one = await client()
    const sql = `SELECT '; SET statement_timeout = 1', $$;
      SET lock_timeout = 1$$ /* ; SET work_mem = 1 */ -- ; SET jit = off
      AS "; SET geqo = off"`
    expect(await run(one, sql)).toEqual(['SELECT ; SET statement_timeout = 1'])
    expect(one.notices).toEqual([])
  })

  it.each([
    ['-c statement_timeout=5', ''],
    ['-cstatement_timeout=5 --search_path=a', '--search_path=a'],
    ['-c search_path=a\\ b -c lock_timeout=1\\ s', '-c search_path=a\\ b'],
    ['-c', '-c'],
  ])('in the options %j leave %j', (options, left) => {
    const kept = withoutDroppedParameters(new Map([['options', options]]), () => {})
    expect(kept.get('options') ?? '').toBe(left)
  })
})

describe('advisory locks', () => {
  it('are held between the connections of the proxy, with a warning that others are not kept out', async () => {
    const [first, second] = [await client(), await client()]
    const take = 'SELECT pg_try_advisory_lock(7241865325823964) AS "lockObtained"'
    expect((await first.query(take)).rows).toEqual([{ lockObtained: true }])
    expect((await second.query(take)).rows).toEqual([{ lockObtained: false }])
    const release = 'SELECT pg_advisory_unlock(7241865325823964)'
    expect((await first.query(release)).rows).toEqual([{ pg_advisory_unlock: true }])
    expect((await second.query(take)).rows).toEqual([{ lockObtained: true }])
    await proxy.printed(/an advisory lock is held by this proxy only/, 'stderr')
    expect((await first.query(release)).rows).toEqual([{ pg_advisory_unlock: false }])
    expect(first.notices).toEqual(["you don't own a lock of type ExclusiveLock"])
  })

  it('are waited for, in the extended protocol with parameters, too', async () => {
    const [first, second] = [await client(), await client()]
    await first.query('SELECT pg_advisory_lock($1)', [42])
    let isTaken = false
    const waiting = second.query('SELECT pg_advisory_lock($1, $2)', [1, 2]).then(() =>
      second.query('SELECT pg_advisory_lock($1)', ['42']).then((result) => {
        isTaken = true
        return result.rows
      }),
    )
    expect((await first.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    expect(isTaken).toBe(false)
    await first.query('SELECT pg_advisory_unlock($1)', [42])
    expect(await waiting).toEqual([{ pg_advisory_lock: '' }])
  })

  it('end with their connection, and a wait ends with a cancel request', async () => {
    const [first, second, third] = [await client(), await client(), await client()]
    await first.query('SELECT pg_advisory_lock(5)')
    const waiting = failure(second.query('SELECT pg_advisory_lock(5)'))
    const last = third.query('SELECT pg_advisory_lock(5)')
    const { processID, secretKey } = second as unknown as { processID: number; secretKey: number }
    const request = Buffer.alloc(16)
    for (const [index, value] of [16, 80877102, processID, secretKey].entries())
      request.writeInt32BE(value, 4 * index)
    const { connect } = await import('node:net')
    // The wait may not have begun when the request arrives.
    const again = setInterval(
      () =>
        connect(port, '127.0.0.1')
          .on('error', () => {})
          .end(request),
      20,
    )
    expect((await waiting).code).toBe('57014')
    clearInterval(again)
    clients.splice(clients.indexOf(first), 1)
    await first.end()
    expect((await last).rows).toEqual([{ pg_advisory_lock: '' }])
  })

  it('keep their order with other statements, and fail in a failed transaction', async () => {
    const one = await client()
    await run(one, 'BEGIN')
    expect(await run(one, 'SELECT pg_try_advisory_lock(9)')).toEqual(['SELECT true'])
    await failure(one.query('SELECT 1 / 0'))
    expect((await failure(one.query('SELECT pg_advisory_lock(9)'))).code).toBe('25P02')
    await run(one, 'ROLLBACK')
    await one.query('SELECT pg_advisory_unlock_all()')
    expect((await one.query('SELECT pg_advisory_unlock(9)')).rows).toEqual([
      { pg_advisory_unlock: false },
    ])
  })

  it.each([
    'SELECT pg_advisory_lock(1), 2',
    'SELECT pg_advisory_lock(id) FROM t',
    'SELECT pg_advisory_xact_lock(1)',
    'SELECT pg_advisory_lock_shared(1)',
    "SELECT pg_advisory_lock(hashtext('x'))",
    'SELECT pg_advisory_lock()',
    'SELECT pg_advisory_lock(1); SELECT 2',
    'with t as (select 1) select pg_advisory_lock(1) from t',
  ])('are not taken by %j, which goes to the server', (sql) => {
    expect(lockCallOf(sql)).toBeUndefined()
  })
})

/** The error of Aurora DSQL for a setting. */
function refused(name: string): { code: string; message: string } {
  return { code: '0A000', message: `setting configuration parameter "${name}" not supported` }
}
