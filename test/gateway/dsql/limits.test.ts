import { Client } from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { startGateway } from '../../../gateway/index.js'
import { rejectionOf } from '../../support/adapter-contract/error-chain.js'
import { pgSettings, withClient } from '../engines/checks/gateway-clients.js'
import { frontend } from '../../wire/frontend-messages.js'
import { errorFields } from '../raw-client.js'
import {
  bind,
  execute,
  parse,
  query,
  run,
  SYNC,
  useDsqlGateway,
  withClients,
} from './dsql-clients.js'

let now = Date.now()
const gateway = useDsqlGateway({ clock: () => now })

const MESSAGE = 10 * 1024 * 1024

beforeAll(() =>
  withClients(gateway(), async (client) => {
    await client.ask('CREATE TABLE item (id int, note text)')
  }),
)
beforeEach(() =>
  withClients(gateway(), async (client) => {
    await client.ask('DROP TABLE item', 'CREATE TABLE item (id int, note text)')
  }),
)

describe('COPY', () => {
  const rows = (count: number): string => Array.from({ length: count }, () => '1\tx\n').join('')
  const copied = (client: Client, text: string): Promise<void> =>
    pipeline(Readable.from([text]), client.query(copyFrom('COPY item FROM STDIN')))
  const admin = <T>(work: (client: Client) => Promise<T>): Promise<T> =>
    withClient(gateway(), work, pgSettings(gateway(), 'admin'))
  const count = async (client: Client): Promise<unknown> =>
    (await client.query('SELECT count(*)::int AS n FROM item')).rows[0].n

  it('writes 3,000 rows, with autocommit and in a transaction, and reads them', () =>
    admin(async (client) => {
      await copied(client, rows(3000))
      await client.query('BEGIN')
      await copied(client, rows(3000))
      await client.query('COMMIT')
      let read = ''
      for await (const chunk of client.query(copyTo('COPY item TO STDOUT'))) read += String(chunk)
      expect(read).toBe(rows(6000))
    }))

  it('of too many rows leaves nothing, with autocommit and in a transaction', () =>
    admin(async (client) => {
      const error = { code: '54000', message: 'transaction row limit exceeded' }
      expect(await rejectionOf(copied(client, rows(3001)))).toMatchObject(error)
      expect(await count(client)).toBe(0)
      await client.query('BEGIN')
      expect(await rejectionOf(copied(client, rows(3001)))).toMatchObject(error)
      expect(await client.query('COMMIT')).toMatchObject({ command: 'ROLLBACK' })
      expect(await count(client)).toBe(0)
    }))

  it('in the extended protocol needs a second Sync, as in PostgreSQL', () =>
    withClients(gateway(), async (client) => {
      for (const [begin, end] of [
        ['ROLLBACK', 'Z I'],
        ['BEGIN', 'Z T'],
      ] as const) {
        await client.ask(begin)
        expect(await client.until('G', run('COPY item FROM STDIN'), SYNC)).toEqual(['1', '2', 'G'])
        const data = [frontend('d', Buffer.from('1\tx\n')), frontend('c'), SYNC]
        expect(await client.until('Z', ...data)).toEqual(['C COPY 1', end])
      }
      await client.ask('COMMIT')
      expect(await client.ask('SELECT count(*) FROM item')).toContain('D 2')
    }))

  it('that fails is answered once', () =>
    withClients(gateway(), async (client) => {
      expect(await client.until('G', query('COPY item FROM STDIN'))).toEqual(['G'])
      expect(
        await client.until('Z', frontend('d', Buffer.from('no number\n')), frontend('c')),
      ).toEqual([expect.stringMatching(/^E 22P02/), 'Z I'])
      expect(await client.until('G', query('COPY item FROM STDIN'))).toEqual(['G'])
      expect(await client.until('Z', frontend('f', Buffer.from('changed my mind\0')))).toEqual([
        expect.stringMatching(/^E 57014/),
        'Z I',
      ])
      expect(await client.ask("COPY item FROM '/etc/passwd'")).toEqual([
        expect.stringMatching(/^E 0A000/),
        'Z I',
      ])
    }))
})

describe('the size of a transaction', () => {
  it('is limited to 10 MiB', () =>
    withClients(gateway(), async (client) => {
      const note = 'x'.repeat(4 * 1024 * 1024)
      await client.ask(
        'BEGIN',
        Buffer.concat([parse('INSERT INTO item VALUES (1, $1)', 'one'), SYNC]),
      )
      const insert = [bind([note], 'one'), execute(), SYNC]
      expect(await client.ask(...insert)).toEqual(['2', 'C INSERT 0 1', 'Z T'])
      expect(await client.ask(...insert)).toEqual(['2', 'C INSERT 0 1', 'Z T'])
      expect(await client.ask(...insert)).toEqual([
        '2',
        'E 54000 transaction size limit 10mb exceeded',
        'Z E',
      ])
      expect(await client.ask('COMMIT')).toEqual(['C ROLLBACK', 'Z I'])
    }))

  it('counts a Query once, also if it has many statements', () =>
    withClients(gateway(), async (client) => {
      const insert = `INSERT INTO item VALUES (1, '${'x'.repeat(1000)}');`
      const replies = await client.ask(`BEGIN;${insert.repeat(500)}COMMIT`)
      expect(replies.at(-2)).toBe('C COMMIT')
      expect(replies).toHaveLength(503)
    }))
})

describe('the longest message', () => {
  /** With its length field. */
  const ofLength = (length: number): Buffer => {
    const sql = `SELECT 1 /* ${'x'.repeat(length - 4 - 1 - 15)} */`
    return query(sql)
  }

  it('has 10 MiB', () =>
    withClients(gateway(), async (client) => {
      const message = ofLength(MESSAGE)
      expect(message).toHaveLength(MESSAGE + 1)
      expect((await client.ask(message)).slice(1)).toEqual(['D 1', 'C SELECT 1', 'Z I'])
    }))

  it('a longer one ends the session', () =>
    withClients(gateway(), async (other) => {
      const { openClient } = await import('./dsql-clients.js')
      const client = await openClient(gateway())
      client.raw.send(ofLength(MESSAGE + 1))
      const [error, ...others] = await client.raw.ended()
      expect(others).toEqual([])
      expect(errorFields(error!)).toMatchObject({
        S: 'FATAL',
        C: '08P01',
        M: 'invalid message length',
      })
      expect(await other.ask('SELECT 1 AS is')).toContain('D 1')
    }))
})

describe('the age of a transaction', () => {
  it('is limited to 300 seconds', () =>
    withClients(gateway(), async (client) => {
      await client.ask('BEGIN', 'INSERT INTO item VALUES (1)')
      now += 300_000
      expect(await client.ask('INSERT INTO item VALUES (2)')).toEqual(['C INSERT 0 1', 'Z T'])
      now += 1
      expect(await client.ask('SELECT 1')).toEqual([
        'E 54000 transaction age limit of 300s exceeded',
        'Z E',
      ])
      expect(await client.ask('COMMIT')).toEqual(['C ROLLBACK', 'Z I'])
      expect(await client.ask('BEGIN', 'INSERT INTO item VALUES (3)', 'COMMIT')).toContain(
        'C COMMIT',
      )
      expect(await client.ask('SELECT id FROM item')).toContain('D 3')
    }))

  it('is also that of its COMMIT, which rolls it back', () =>
    withClients(gateway(), async (client) => {
      for (const commit of ['COMMIT', Buffer.concat([run('COMMIT'), SYNC])]) {
        await client.ask('BEGIN', 'INSERT INTO item VALUES (7)')
        now += 300_001
        const lines = await client.ask(commit)
        expect(lines.slice(-2)).toEqual(['E 54000 transaction age limit of 300s exceeded', 'Z I'])
        expect(await client.ask('SELECT id FROM item WHERE id = 7')).not.toContain('D 7')
        // Tokens are verified by the same clock.
        now -= 300_001
      }
    }))

  it('does not count outside of one', () =>
    withClients(gateway(), async (client) => {
      now += 400_000
      expect(await client.ask('INSERT INTO item VALUES (1)')).toEqual(['C INSERT 0 1', 'Z I'])
    }))
})

describe('settings', () => {
  const refusal = (name: string): string =>
    `E 0A000 setting configuration parameter "${name}" not supported`

  it.each(['application_name', 'TimeZone', 'DateStyle', 'search_path', 'enable_seqscan'])(
    '%s can be set and reset',
    (name) =>
      withClients(gateway(), async (client) => {
        expect(await client.ask(`SET ${name} = DEFAULT`)).toEqual(['C SET', 'Z I'])
        expect(await client.ask(`RESET ${name}`)).toEqual(['C RESET', 'Z I'])
      }),
  )

  it.each([
    'statement_timeout',
    'lock_timeout',
    'work_mem',
    'role',
    'default_transaction_isolation',
  ])('%s cannot be set', (name) =>
    withClients(gateway(), async (client) => {
      const replies = [refusal(name), 'Z I']
      expect(await client.ask(`SET ${name} = '1'`)).toEqual(replies)
      expect(await client.ask(`SET SESSION ${name} TO '1'`)).toEqual(replies)
      expect(await client.ask(`RESET ${name}`)).toEqual(replies)
      expect(await client.ask(`SELECT set_config('${name}', '1', false)`)).toEqual(replies)
      expect(await client.ask(`SELECT pg_catalog.set_config('${name}', '1', true)`)).toEqual(
        replies,
      )
    }),
  )

  it.each([
    { options: '-c statement_timeout=5s' },
    { options: '--work-mem=4MB' },
    { statement_timeout: 5000 },
  ])('a session cannot start with %j', async (settings) => {
    const client = new Client({ ...pgSettings(gateway(), 'admin'), ...settings })
    expect(await rejectionOf(client.connect())).toMatchObject({
      code: '0A000',
      severity: 'FATAL',
      message: expect.stringMatching(/^setting configuration parameter "\w+" not supported$/),
    })
    await client.end().catch(() => {})
  })

  it('a session can start with settings that can be set', () =>
    withClient(
      gateway(),
      async (client) => {
        const { rows } = await client.query('SHOW search_path')
        expect(rows).toEqual([{ search_path: 'a, b' }])
        expect((await client.query('SHOW intervalstyle')).rows).toEqual([
          { IntervalStyle: 'iso_8601' },
        ])
      },
      {
        options:
          '-c search_path=a,\\ b --IntervalStyle=iso_8601 -c dsql.enable_batched_nestloop=on',
      },
    ))

  it('RESET ALL is accepted, and sessions stay at REPEATABLE READ', () =>
    withClients(gateway(), async (client) => {
      expect(await client.ask('RESET ALL')).toEqual(['C RESET', 'Z I'])
      expect(await client.ask('SHOW transaction_isolation')).toContain('D repeatable read')
      expect(await client.ask('BEGIN', 'SHOW transaction_isolation', 'ROLLBACK')).toContain(
        'D repeatable read',
      )
    }))
})

describe('without DSQL mode', () => {
  it('`sql: postgres` passes all SQL', async () => {
    const plain = await startGateway({ engine: 'postgres', sql: 'postgres' })
    try {
      await withClient(
        plain,
        async (client) => {
          await client.query('BEGIN')
          await client.query('CREATE TABLE one (id serial)')
          await client.query('CREATE TABLE two (id int)')
          await client.query('SAVEPOINT s')
          await client.query('INSERT INTO two SELECT generate_series(1, 3001)')
          await client.query('TRUNCATE one')
          await client.query('COMMIT')
        },
        pgSettings(plain, 'admin'),
      )
    } finally {
      await plain.close()
    }
  })
})
