import { createPool, pgTransaction } from '../../../adapters/pg.js'
import { rejectionOf } from '../../support/adapter-contract/error-chain.js'
import {
  bind,
  describe as describing,
  type DsqlClient,
  execute,
  FLUSH,
  parse,
  query,
  run,
  SYNC,
  useDsqlGateway,
  withClients,
} from './dsql-clients.js'

const gateway = useDsqlGateway()

const OC000 = 'E 40001 change conflicts with another transaction (OC000)'
const OC001 = 'E 40001 schema has been updated by another transaction (OC001)'

beforeAll(() =>
  withClients(gateway(), async (client) => {
    await client.ask('CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL)')
    await client.ask('CREATE TABLE entry (id int PRIMARY KEY)')
  }),
)
beforeEach(() =>
  withClients(gateway(), async (client) => {
    await client.ask(
      'DELETE FROM account',
      'INSERT INTO account VALUES (1, 100), (2, 200), (3, 300)',
      'DELETE FROM entry',
    )
  }),
)

/** Begins a transaction that has read, so that it does not see what others commit later. */
async function begin(...clients: readonly DsqlClient[]): Promise<void> {
  for (const client of clients) await client.ask('BEGIN', 'SELECT FROM account LIMIT 1')
}

async function balances(client: DsqlClient): Promise<string[]> {
  const lines = await client.ask('SELECT id, balance FROM account ORDER BY id')
  return lines.filter((line) => line.startsWith('D ')).map((line) => line.slice(2))
}

const LOCK = 'SELECT id FROM account WHERE id = 1 FOR UPDATE'
const UPDATE = 'UPDATE account SET balance = balance + 1 WHERE id = 1'
const DELETE = 'DELETE FROM account WHERE id = 1'
const UPSERT =
  'INSERT INTO account VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET balance = excluded.balance'

const ENDS: Readonly<Record<string, string[]>> = {
  [LOCK]: ['T id', 'D 1', 'C SELECT 1', 'Z T'],
  [UPDATE]: ['C UPDATE 1', 'Z T'],
  [DELETE]: ['C DELETE 1', 'Z T'],
  [UPSERT]: ['C INSERT 0 1', 'Z T'],
}
const PAIRS = Object.keys(ENDS).flatMap((one) =>
  Object.keys(ENDS).map((other): [string, string] => [one, other]),
)

describe('two transactions on one row', () => {
  it.each(PAIRS)('both run, and the later COMMIT fails: %s; %s', (one, other) =>
    withClients(gateway(), async (first, second) => {
      await begin(first, second)
      expect(await first.ask(one)).toEqual(ENDS[one])
      expect(await second.ask(other)).toEqual(ENDS[other])
      expect(await first.ask('COMMIT')).toEqual(['C COMMIT', 'Z I'])
      const after = await balances(first)
      expect(await second.ask('COMMIT')).toEqual([OC000, 'Z I'])
      expect(await balances(second)).toEqual(after)
      expect(await second.ask('COMMIT')).toEqual(['C COMMIT', 'Z I'])
    }),
  )

  it.each([UPDATE, DELETE, UPSERT])('the same if the other one has committed before: %s', (sql) =>
    withClients(gateway(), async (first, second) => {
      await begin(first)
      await second.ask(UPDATE)
      const after = await balances(second)
      expect(await first.ask(sql)).toEqual(ENDS[sql])
      expect(await first.ask('COMMIT')).toEqual([OC000, 'Z I'])
      expect(await balances(second)).toEqual(after)
    }),
  )

  it('the later INSERT of one key loses at COMMIT', () =>
    withClients(gateway(), async (first, second) => {
      await begin(first, second)
      expect(await first.ask('INSERT INTO entry VALUES (1)')).toEqual(['C INSERT 0 1', 'Z T'])
      expect(await second.ask('INSERT INTO entry VALUES (1), (2)')).toEqual(['C INSERT 0 2', 'Z T'])
      await first.ask('COMMIT')
      expect(await second.ask('COMMIT')).toEqual([OC000, 'Z I'])
      expect(await second.ask('SELECT count(*) FROM entry')).toContain('D 1')
    }))

  it('an INSERT of a key that another session has committed meanwhile loses at COMMIT', () =>
    withClients(gateway(), async (first, second) => {
      await begin(first, second)
      await second.ask('INSERT INTO entry VALUES (1)', 'COMMIT')
      expect(await first.ask('INSERT INTO entry VALUES (1) -- note')).toEqual([
        'C INSERT 0 1',
        'Z T',
      ])
      expect(await first.ask('COMMIT')).toEqual([OC000, 'Z I'])
    }))

  it('an INSERT of a key that the transaction can see is an error of the statement', () =>
    withClients(gateway(), async (first) => {
      await first.ask('INSERT INTO entry VALUES (1)')
      await begin(first)
      expect(await first.ask('INSERT INTO entry VALUES (1)')).toEqual([
        'E 23505 duplicate key value violates unique constraint "entry_pkey"',
        'Z E',
      ])
      expect(await first.ask('COMMIT')).toEqual(['C ROLLBACK', 'Z I'])
      await begin(first)
      await first.ask('INSERT INTO entry VALUES (2)')
      expect(await first.ask(run('INSERT INTO entry VALUES (2)'), SYNC)).toEqual([
        '1',
        '2',
        'E 23505 duplicate key value violates unique constraint "entry_pkey"',
        'Z E',
      ])
      await first.ask('ROLLBACK')
    }))

  it('the loser sees its conflict once, and none of its rows stay', () =>
    withClients(gateway(), async (first, second) => {
      await begin(first, second)
      await first.ask(UPDATE)
      await second.ask('INSERT INTO entry VALUES (1)', UPDATE, 'INSERT INTO entry VALUES (2)')
      expect(await second.ask('SELECT 1 AS still')).toContain('D 1')
      await first.ask('COMMIT')
      expect(await second.ask('COMMIT')).toEqual([OC000, 'Z I'])
      expect(await second.ask('SELECT count(*) FROM entry')).toContain('D 0')
      expect(await second.ask('BEGIN', UPDATE, 'COMMIT')).toEqual([
        ...['C BEGIN', 'Z T'],
        ...['C UPDATE 1', 'Z T'],
        ...['C COMMIT', 'Z I'],
      ])
    }))

  it('the loser may roll back', () =>
    withClients(gateway(), async (first, second) => {
      await begin(first, second)
      await first.ask(UPDATE)
      await second.ask(UPDATE)
      expect(await second.ask('ROLLBACK')).toEqual(['C ROLLBACK', 'Z I'])
      expect(await first.ask('COMMIT')).toEqual(['C COMMIT', 'Z I'])
    }))

  it('an error of the loser comes before its conflict', () =>
    withClients(gateway(), async (first, second) => {
      await begin(first, second)
      await first.ask(UPDATE)
      await second.ask(UPDATE)
      expect(await second.ask('SELECT 1 / 0')).toEqual(['E 22012 division by zero', 'Z E'])
      expect(await second.ask(run('COMMIT'), SYNC)).toEqual(['1', '2', 'C ROLLBACK', 'Z I'])
      await first.ask('ROLLBACK')
    }))

  it('rows that a conflict would have to invent are an error at once', () =>
    withClients(gateway(), async (first, second) => {
      await begin(first, second)
      await first.ask(UPDATE)
      expect(await second.ask(`${UPDATE} RETURNING balance`)).toEqual([OC000, 'Z E'])
      expect(await second.ask('COMMIT')).toEqual(['C ROLLBACK', 'Z I'])
      await first.ask('ROLLBACK')
    }))

  it('with autocommit the statement itself fails, and is not repeated', () =>
    withClients(gateway(), async (first, second) => {
      await first.ask('BEGIN', UPDATE)
      expect(await second.ask(UPDATE)).toEqual([OC000, 'Z I'])
      expect(await second.ask(run(UPDATE), SYNC)).toEqual(['1', '2', OC000, 'Z I'])
      await first.ask('COMMIT')
      expect(await balances(second)).toEqual(['1 101', '2 200', '3 300'])
    }))
})

describe('a lost conflict in the extended protocol', () => {
  const lose = (work: (second: DsqlClient) => Promise<void>): Promise<void> =>
    withClients(gateway(), async (first, second) => {
      await begin(first, second)
      await first.ask(UPDATE)
      await work(second)
      await first.ask('COMMIT')
      expect(await second.ask(run('COMMIT'), SYNC)).toEqual(['1', '2', OC000, 'Z I'])
      expect(await balances(second)).toEqual(['1 101', '2 200', '3 300'])
    })

  it('replies to the messages after the statement, too', () =>
    lose(async (client) => {
      const close = Buffer.from([0x43, 0, 0, 0, 6, 0x53, 0])
      expect(
        await client.ask(parse(UPDATE), bind(), execute(), close, parse('SELECT 1'), SYNC),
      ).toEqual(['1', '2', 'C UPDATE 1', '3', '1', 'Z T'])
    }))

  it('replies to a Flush', () =>
    lose(async (client) => {
      expect(await client.until('C', parse(UPDATE), bind(), execute(), FLUSH)).toEqual([
        '1',
        '2',
        'C UPDATE 1',
      ])
      expect(await client.ask(SYNC)).toEqual(['Z T'])
    }))

  it('keeps a prepared statement', () =>
    lose(async (client) => {
      await client.ask(parse(UPDATE, 'one'), SYNC)
      for (let count = 0; count < 3; count++)
        expect(await client.ask(bind([], 'one'), execute(), SYNC)).toEqual([
          '2',
          'C UPDATE 1',
          'Z T',
        ])
    }))

  it('keeps an unnamed statement', () =>
    lose(async (client) => {
      await client.ask(parse(UPDATE), SYNC)
      for (let count = 0; count < 3; count++)
        expect(await client.ask(bind(), execute(), SYNC)).toEqual(['2', 'C UPDATE 1', 'Z T'])
    }))

  it('reads the rows of a lock again without it', () =>
    lose(async (client) => {
      const sql = 'SELECT id, balance FROM account WHERE id = $1 FOR UPDATE'
      expect(await client.ask(parse(sql), bind(['1']), describing('P'), execute(), SYNC)).toEqual([
        '1',
        '2',
        'T id balance',
        'D 1 100',
        'C SELECT 1',
        'Z T',
      ])
    }))

  it('replies to requests that were sent without waiting', () =>
    lose(async (client) => {
      const insert = run('INSERT INTO entry VALUES ($1)', '5')
      expect(await client.ask(run(UPDATE), SYNC, insert, SYNC, query('SELECT 1 AS one'))).toEqual([
        ...['1', '2', 'C UPDATE 1', 'Z T'],
        ...['1', '2', 'C INSERT 0 1', 'Z T'],
        ...['T one', 'D 1', 'C SELECT 1', 'Z T'],
      ])
    }))
})

describe('locks', () => {
  it.each(['', ' NOWAIT', ' SKIP LOCKED', ' OF account', ' OF account NOWAIT'])(
    'FOR UPDATE%s of several rows loses at COMMIT, and shows no row twice',
    (clause) =>
      withClients(gateway(), async (first, second) => {
        await begin(first, second)
        // The second row: the first one has been sent when the conflict is found.
        await first.ask('UPDATE account SET balance = 0 WHERE id = 2')
        const rows = await second.ask(`SELECT id FROM account ORDER BY id FOR UPDATE${clause}`)
        expect(rows).toEqual(
          clause === ' SKIP LOCKED'
            ? ['T id', 'D 1', 'D 3', 'C SELECT 2', 'Z T']
            : ['T id', 'D 1', 'D 2', 'D 3', 'C SELECT 3', 'Z T'],
        )
        await first.ask('COMMIT')
        expect(await second.ask('COMMIT')).toEqual(
          clause === ' SKIP LOCKED' ? ['C COMMIT', 'Z I'] : [OC000, 'Z I'],
        )
      }),
  )

  it('only the clause is left out, not a text that looks like it', () =>
    withClients(gateway(), async (first, second) => {
      await begin(first, second)
      await first.ask(UPDATE)
      const sql =
        'SELECT \'FOR UPDATE\' AS "for update" FROM account WHERE id = 1 /* FOR UPDATE */ LIMIT 1 FOR UPDATE OF account -- x'
      expect(await second.ask(sql)).toEqual(['T for update', 'D FOR UPDATE', 'C SELECT 1', 'Z T'])
      await first.ask('COMMIT')
      expect(await second.ask('COMMIT')).toEqual([OC000, 'Z I'])
    }))

  it.each(['FOR KEY SHARE', 'FOR UPDATE'])(
    '%s of a row that another one locks for its key',
    (lock) =>
      withClients(gateway(), async (first, second) => {
        await begin(first, second)
        await first.ask('SELECT FROM account WHERE id = 1 FOR KEY SHARE')
        expect(await second.ask(`SELECT id FROM account WHERE id = 1 ${lock}`)).toEqual(ENDS[LOCK])
        await first.ask('COMMIT')
        expect(await second.ask('COMMIT')).toEqual(
          lock === 'FOR KEY SHARE' ? ['C COMMIT', 'Z I'] : [OC000, 'Z I'],
        )
      }),
  )

  it('an UPDATE that changes no key does not conflict with FOR KEY SHARE', () =>
    withClients(gateway(), async (first, second) => {
      await begin(first, second)
      await first.ask('SELECT FROM account WHERE id = 1 FOR KEY SHARE')
      await second.ask(UPDATE)
      expect(await second.ask('COMMIT')).toEqual(['C COMMIT', 'Z I'])
      expect(await first.ask('COMMIT')).toEqual(['C COMMIT', 'Z I'])
    }))
})

describe('a change of the schema', () => {
  let created = 0
  const ddl = (): string => `CREATE TABLE made_${++created} (id int)`

  it('fails the COMMIT of a transaction that has written', () =>
    withClients(gateway(), async (first, second) => {
      await begin(first)
      await first.ask(UPDATE)
      await second.ask(ddl())
      expect(await first.ask('COMMIT')).toEqual([OC001, 'Z I'])
      expect(await balances(first)).toEqual(['1 100', '2 200', '3 300'])
      expect(await first.ask('BEGIN', UPDATE, 'COMMIT')).toContain('C COMMIT')
    }))

  it('fails no transaction that has only read', () =>
    withClients(gateway(), async (first, second) => {
      await begin(first)
      await second.ask(ddl())
      expect(await first.ask('COMMIT')).toEqual(['C COMMIT', 'Z I'])
    }))

  it('counts when it is committed, not before', () =>
    withClients(gateway(), async (first, second) => {
      await second.ask('BEGIN', ddl())
      await begin(first)
      await first.ask(UPDATE)
      await second.ask('ROLLBACK')
      expect(await first.ask('COMMIT')).toEqual(['C COMMIT', 'Z I'])
      await second.ask('BEGIN', ddl())
      await begin(first)
      await first.ask(UPDATE)
      await second.ask('COMMIT')
      expect(await first.ask(run('COMMIT'), SYNC)).toEqual(['1', '2', OC001, 'Z I'])
    }))

  it('fails no transaction if it was refused or has failed', () =>
    withClients(gateway(), async (first, second) => {
      await begin(first)
      await first.ask(UPDATE)
      await second.ask('CREATE TABLE bad (id serial)', 'CREATE TABLE account (id int)')
      expect(await first.ask('COMMIT')).toEqual(['C COMMIT', 'Z I'])
    }))

  it('does not fail the transaction that makes it', () =>
    withClients(gateway(), async (first) => {
      expect(await first.ask('BEGIN', ddl(), 'COMMIT')).toContain('C COMMIT')
    }))
})

describe('pgTransaction', () => {
  it('is repeated after a conflict, and succeeds', async () => {
    const pool = createPool(gateway().login({ user: 'admin' }), { max: 2 })
    try {
      let tries = 0
      await pgTransaction(pool, async (client) => {
        tries++
        await client.query('SELECT balance FROM account')
        if (tries === 1) await pool.query(UPDATE)
        await client.query(UPDATE)
      })
      expect(tries).toBe(2)
      const { rows } = await pool.query<{ balance: number }>(
        'SELECT balance FROM account WHERE id = 1',
      )
      expect(rows).toEqual([{ balance: 102 }])
    } finally {
      await pool.end()
    }
  })

  it('keeps a ledger exact: 8 tasks that increment one row 25 times each', async () => {
    const pool = createPool(gateway().login({ user: 'admin' }), { max: 8 })
    try {
      const add = async (): Promise<void> => {
        for (let count = 0; count < 25; count++)
          await pgTransaction(
            pool,
            async (client) => {
              await client.query(UPDATE)
            },
            { maxAttempts: 100, baseDelayMs: 1, maxDelayMs: 20 },
          )
      }
      await Promise.all(Array.from({ length: 8 }, add))
      const { rows } = await pool.query<{ balance: number }>(
        'SELECT balance FROM account WHERE id = 1',
      )
      expect(rows).toEqual([{ balance: 300 }])
    } finally {
      await pool.end()
    }
  })

  it('is not repeated after another error', async () => {
    const pool = createPool(gateway().login({ user: 'admin' }), { max: 1 })
    try {
      let tries = 0
      const failed = pgTransaction(pool, async (client) => {
        tries++
        await client.query('TRUNCATE account')
      })
      expect(await rejectionOf(failed)).toMatchObject({ code: '0A000' })
      expect(tries).toBe(1)
    } finally {
      await pool.end()
    }
  })
})
