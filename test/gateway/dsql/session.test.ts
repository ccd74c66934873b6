import {
  bind,
  describe as describing,
  type DsqlClient,
  execute,
  FLUSH,
  parse,
  query,
  ran,
  run,
  SYNC,
  useDsqlGateway,
  withClients,
} from './dsql-clients.js'

const gateway = useDsqlGateway()

const TOO_MANY = 'E 54000 transaction row limit exceeded'
const TWO_DDL = 'E 0A000 multiple ddl statements not supported in a transaction'
const MIXED = 'E 0A000 ddl and dml are not supported in the same transaction'
const ABORTED =
  'E 25P02 current transaction is aborted, commands ignored until end of transaction block'
const TRUNCATED = 'E 0A000 unsupported statement: Truncate'

beforeAll(() =>
  withClients(gateway(), async (client) => {
    await client.ask('CREATE TABLE filled (id int)')
    await client.ask('INSERT INTO filled SELECT generate_series(1, 3000)')
    await client.ask('INSERT INTO filled VALUES (3001)')
  }),
)
beforeEach(() =>
  withClients(gateway(), async (client) => {
    await client.ask('DROP TABLE IF EXISTS item', 'CREATE TABLE item (id int, note text)')
  }),
)

async function itemsIn(client: DsqlClient): Promise<string | undefined> {
  const lines = await client.ask('SELECT count(*) FROM item')
  return lines.find((line) => line.startsWith('D '))?.slice(2)
}

/** The same statement in each way to send it, and the replies before ReadyForQuery. */
const WAYS: readonly [string, (sql: string) => Buffer, (answer: string) => string[]][] = [
  ['a Query', query, (answer) => [answer]],
  [
    'one extended request',
    (sql) => Buffer.concat([run(sql), SYNC]),
    (answer) => (answer.startsWith('E') ? [answer] : ['1', '2', answer]),
  ],
]

describe.each(WAYS)('in %s', (_way, send, replies) => {
  it('a refusal outside of a transaction leaves none open', () =>
    withClients(gateway(), async (client) => {
      expect(await client.ask(send('TRUNCATE item'))).toEqual([...replies(TRUNCATED), 'Z I'])
    }))

  it('a refusal within a transaction aborts it, and COMMIT is a ROLLBACK', () =>
    withClients(gateway(), async (client) => {
      await client.ask('BEGIN', 'INSERT INTO item VALUES (1)')
      expect(await client.ask(send('TRUNCATE item'))).toEqual([...replies(TRUNCATED), 'Z E'])
      expect(await client.ask(send('TRUNCATE item'))).toEqual([...replies(ABORTED), 'Z E'])
      expect(await client.ask(send('INSERT INTO item VALUES (1)'))).toEqual([
        ...replies(ABORTED),
        'Z E',
      ])
      expect(await client.ask(send('COMMIT'))).toEqual([...replies('C ROLLBACK'), 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))

  it.each([
    ['two DDL statements', 'CREATE TABLE one (id int)', 'CREATE TABLE two (id int)', TWO_DDL],
    ['DDL and then DML', 'CREATE TABLE one (id int)', 'INSERT INTO item VALUES (1)', MIXED],
    ['DML and then DDL', 'INSERT INTO item VALUES (1)', 'CREATE TABLE one (id int)', MIXED],
  ])('%s cannot be in one transaction', (_label, first, second, error) =>
    withClients(gateway(), async (client) => {
      await client.ask(send('BEGIN'), send(first))
      expect(await client.ask(send(second))).toEqual([...repliesOf(replies, error), 'Z E'])
      expect(await client.ask(send('ROLLBACK'))).toEqual([...replies('C ROLLBACK'), 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }),
  )

  it.each([
    'INSERT INTO item SELECT generate_series(1, 3001)',
    'INSERT INTO item SELECT id FROM filled',
    "WITH new AS (SELECT id FROM filled) INSERT INTO item SELECT id, 'x' FROM new",
    `INSERT INTO item VALUES ${'(1),'.repeat(3000)}(1)`,
  ])('nothing stays of an autocommitted statement with too many rows: %.50s', (sql) =>
    withClients(gateway(), async (client) => {
      expect(await client.ask(send(sql))).toEqual([...repliesOf(replies, TOO_MANY), 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }),
  )

  it.each(['UPDATE filled SET id = id', 'DELETE FROM filled'])(
    'an autocommitted statement may change no more than 3,000 rows: %s',
    (sql) =>
      withClients(gateway(), async (client) => {
        expect(await client.ask(send(sql))).toEqual([...repliesOf(replies, TOO_MANY), 'Z I'])
        expect(await client.ask('SELECT count(*) FROM filled')).toContain('D 3001')
      }),
  )

  it('the rows of all statements of a transaction count', () =>
    withClients(gateway(), async (client) => {
      await client.ask(send('BEGIN'))
      const fill = send('INSERT INTO item SELECT generate_series(1, 1500)')
      expect(await client.ask(fill)).toEqual([...replies('C INSERT 0 1500'), 'Z T'])
      expect(await client.ask(fill)).toEqual([...replies('C INSERT 0 1500'), 'Z T'])
      expect(await client.ask(send('INSERT INTO item VALUES (1)'))).toEqual([
        ...repliesOf(replies, TOO_MANY),
        'Z E',
      ])
      expect(await client.ask(send('SELECT 1'))).toEqual([...replies(ABORTED), 'Z E'])
      expect(await client.ask(send('COMMIT'))).toEqual([...replies('C ROLLBACK'), 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))

  it('3,000 rows are allowed, with autocommit and in each of two transactions', () =>
    withClients(gateway(), async (client) => {
      const fill = send('INSERT INTO item SELECT generate_series(1, 3000)')
      expect(await client.ask(fill)).toEqual([...replies('C INSERT 0 3000'), 'Z I'])
      for (let count = 0; count < 2; count++) {
        await client.ask(send('BEGIN'))
        expect(await client.ask(fill)).toEqual([...replies('C INSERT 0 3000'), 'Z T'])
        expect(await client.ask(send('COMMIT'))).toEqual([...replies('C COMMIT'), 'Z I'])
      }
      expect(await itemsIn(client)).toBe('9000')
    }))

  it('pipelined transactions have each their own rows and state', () =>
    withClients(gateway(), async (client) => {
      const fill = send('INSERT INTO item SELECT generate_series(1, 2000)')
      const one = [send('BEGIN'), fill, send('COMMIT')]
      expect(await client.ask(...one, ...one, ...one)).toEqual(
        [1, 2, 3].flatMap(() => [
          ...[...replies('C BEGIN'), 'Z T'],
          ...[...replies('C INSERT 0 2000'), 'Z T'],
          ...[...replies('C COMMIT'), 'Z I'],
        ]),
      )
      expect(await itemsIn(client)).toBe('6000')
    }))

  it('pipelined requests with autocommit have each their own rows', () =>
    withClients(gateway(), async (client) => {
      const fill = send(`INSERT INTO item VALUES ${'(1),'.repeat(1999)}(1)`)
      const answers = [...replies('C INSERT 0 2000'), 'Z I']
      expect(await client.ask(fill, fill, fill)).toEqual([...answers, ...answers, ...answers])
      expect(await itemsIn(client)).toBe('6000')
    }))

  it('COMMIT AND CHAIN begins another transaction, which a write does not end', () =>
    withClients(gateway(), async (client) => {
      await client.ask(send('BEGIN'))
      expect(await client.ask(send('COMMIT AND CHAIN'))).toEqual([...replies('C COMMIT'), 'Z T'])
      expect(await client.ask(send('INSERT INTO item SELECT 1'))).toEqual([
        ...replies('C INSERT 0 1'),
        'Z T',
      ])
      expect(await client.ask(send('ROLLBACK'))).toEqual([...replies('C ROLLBACK'), 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))

  it('after a failed BEGIN nothing is held in a transaction', () =>
    withClients(gateway(), async (client) => {
      expect(
        await client.ask(
          send('BEGIN ISOLATION LEVEL SERIALIZABLE'),
          send('INSERT INTO item VALUES (1)'),
        ),
      ).toEqual([
        ...replies('E 0A000 Unsupported isolation level: SERIALIZABLE'),
        'Z I',
        ...replies('C INSERT 0 1'),
        'Z I',
      ])
      expect(await itemsIn(client)).toBe('1')
    }))

  it('two thousand writes in one transaction are all answered', () =>
    withClients(gateway(), async (client) => {
      await client.ask(send('BEGIN'))
      const writes = Array.from({ length: 2000 }, (_, id) =>
        send(`INSERT INTO item VALUES (${id})`),
      )
      const replied = await client.ask(...writes)
      expect(replied.filter((line) => line === 'C INSERT 0 1')).toHaveLength(2000)
      expect(replied.filter((line) => line === 'Z T')).toHaveLength(2000)
      expect(await client.ask(send('COMMIT'))).toEqual([...replies('C COMMIT'), 'Z I'])
      expect(await itemsIn(client)).toBe('2000')
    }))
})

/** An error at the end of a statement follows ParseComplete and BindComplete. */
function repliesOf(replies: (answer: string) => string[], error: string): string[] {
  return replies('C').map((line) => (line === 'C' ? error : line))
}

describe('several statements in one Query', () => {
  it('have each a reply', () =>
    withClients(gateway(), async (client) => {
      expect(await client.ask('SELECT 1 AS a; SELECT 2 AS b')).toEqual([
        ...['T a', 'D 1', 'C SELECT 1'],
        ...['T b', 'D 2', 'C SELECT 1'],
        'Z I',
      ])
    }))

  it('may be a whole transaction', () =>
    withClients(gateway(), async (client) => {
      expect(await client.ask('BEGIN; INSERT INTO item VALUES (1); COMMIT')).toEqual([
        'C BEGIN',
        'C INSERT 0 1',
        'C COMMIT',
        'Z I',
      ])
      expect(await itemsIn(client)).toBe('1')
    }))

  it('do not commit too many rows', () =>
    withClients(gateway(), async (client) => {
      expect(
        await client.ask('BEGIN; INSERT INTO item SELECT generate_series(1, 3001); COMMIT'),
      ).toEqual(['C BEGIN', TOO_MANY, 'Z E'])
      expect(await client.ask('ROLLBACK')).toEqual(['C ROLLBACK', 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))

  it('do not commit too many rows of an open transaction', () =>
    withClients(gateway(), async (client) => {
      await client.ask('BEGIN')
      expect(
        await client.ask('INSERT INTO item SELECT generate_series(1, 3001); COMMIT; SELECT 1'),
      ).toEqual([TOO_MANY, 'Z E'])
      expect(await client.ask('ROLLBACK')).toEqual(['C ROLLBACK', 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))

  it('count their rows together, as one transaction', () =>
    withClients(gateway(), async (client) => {
      const fill = `INSERT INTO item VALUES ${'(1),'.repeat(1999)}(1)`
      expect(await client.ask(`${fill}; ${fill}`)).toEqual(['C INSERT 0 2000', TOO_MANY, 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))

  it('leave an aborted transaction open if one fails before the COMMIT', () =>
    withClients(gateway(), async (client) => {
      await client.ask('BEGIN')
      expect(await client.ask('SELECT 1 / 0; COMMIT')).toEqual(['E 22012 division by zero', 'Z E'])
      expect(await client.ask('INSERT INTO item SELECT 1')).toEqual([ABORTED, 'Z E'])
      expect(await client.ask('COMMIT')).toEqual(['C ROLLBACK', 'Z I'])
    }))

  it('open no transaction if one fails before the BEGIN', () =>
    withClients(gateway(), async (client) => {
      expect(
        await client.ask(
          query('SELECT 1 / 0; BEGIN'),
          query('INSERT INTO item SELECT generate_series(1, 3001)'),
        ),
      ).toEqual(['E 22012 division by zero', 'Z I', TOO_MANY, 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))

  it.each(['', ' ', '-- nothing', ';', ' ; ; '])('may be none: %p', (sql) =>
    withClients(gateway(), async (client) => {
      expect(await client.ask(sql)).toEqual(['I', 'Z I'])
      expect(await client.ask(Buffer.concat([run(sql), SYNC]))).toEqual(['1', '2', 'I', 'Z I'])
    }),
  )

  it('stop at the first refusal, and nothing of the Query stays', () =>
    withClients(gateway(), async (client) => {
      expect(
        await client.ask('INSERT INTO item VALUES (1); TRUNCATE item; INSERT INTO item VALUES (2)'),
      ).toEqual(['C INSERT 0 1', TRUNCATED, 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))
})

describe('a pipeline before one Sync', () => {
  it('does not commit too many rows', () =>
    withClients(gateway(), async (client) => {
      const fill = run('INSERT INTO item SELECT generate_series(1, 3001)')
      expect(await client.ask(run('BEGIN'), fill, run('COMMIT'), SYNC)).toEqual([
        ...ran('BEGIN'),
        '1',
        '2',
        TOO_MANY,
        'Z E',
      ])
      expect(await client.ask('ROLLBACK')).toEqual(['C ROLLBACK', 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))

  it('does not commit what follows a lost COMMIT', () =>
    withClients(gateway(), async (client, other) => {
      await client.ask('INSERT INTO item VALUES (1)', 'BEGIN', 'SELECT FROM item')
      await other.ask('UPDATE item SET id = 2')
      expect(await client.ask('UPDATE item SET id = 3')).toEqual(['C UPDATE 1', 'Z T'])
      expect(await client.ask(run('INSERT INTO item VALUES (4)'), run('COMMIT'), SYNC)).toEqual([
        ...ran('INSERT 0 1'),
        ...['1', '2'],
        'E 40001 change conflicts with another transaction (OC000)',
        'Z I',
      ])
      expect(await client.ask('SELECT id FROM item')).toContain('D 2')
      expect(await itemsIn(client)).toBe('1')
    }))

  it('is skipped after an error, up to its Sync', () =>
    withClients(gateway(), async (client) => {
      expect(
        await client.ask(run('SELECT 1 / 0'), run('INSERT INTO item VALUES (1)'), SYNC),
      ).toEqual(['1', 'E 22012 division by zero', 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))
})

describe('Flush in place of Sync', () => {
  it('answers before the Sync, and writes then', () =>
    withClients(gateway(), async (client) => {
      expect(
        await client.until('n', parse('INSERT INTO item VALUES ($1)'), describing('S'), FLUSH),
      ).toEqual(['1', 't', 'n'])
      expect(await client.ask(bind(['1']), execute(), SYNC)).toEqual(['2', 'C INSERT 0 1', 'Z I'])
      expect(await itemsIn(client)).toBe('1')
    }))

  it('lets no statement with too many rows stay', () =>
    withClients(gateway(), async (client) => {
      const sql = 'INSERT INTO item SELECT generate_series(1, $1::int)'
      await client.until('n', parse(sql), describing('S'), FLUSH)
      expect(await client.ask(bind(['3001']), execute(), SYNC)).toEqual(['2', TOO_MANY, 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))

  it('lets no statement with too many rows stay that is executed before it', () =>
    withClients(gateway(), async (client) => {
      const fill = run('INSERT INTO item SELECT generate_series(1, 3001)')
      expect(await client.until('E', fill, FLUSH)).toEqual(['1', '2', TOO_MANY])
      expect(await client.ask(SYNC)).toEqual(['Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))

  it('keeps a conflict until COMMIT', () =>
    withClients(gateway(), async (client, other) => {
      await client.ask('INSERT INTO item VALUES (1)', 'BEGIN', 'SELECT FROM item')
      await other.ask('UPDATE item SET id = 2')
      await client.until('n', parse('UPDATE item SET id = $1'), describing('S'), FLUSH)
      expect(await client.ask(bind(['3']), execute(), SYNC)).toEqual(['2', 'C UPDATE 1', 'Z T'])
      expect(await client.ask('COMMIT')).toEqual([
        'E 40001 change conflicts with another transaction (OC000)',
        'Z I',
      ])
    }))

  it('after a refusal, the rest up to the Sync is skipped', () =>
    withClients(gateway(), async (client) => {
      expect(await client.until('E', parse('TRUNCATE item'), describing('S'), FLUSH)).toEqual([
        TRUNCATED,
      ])
      expect(await client.ask(run('INSERT INTO item VALUES (1)'), SYNC)).toEqual(['Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))

  it('after a refusal that was sent together with the rest, the rest is skipped', () =>
    withClients(gateway(), async (client) => {
      expect(
        await client.ask(parse('TRUNCATE item'), FLUSH, run('INSERT INTO item VALUES (1)'), SYNC),
      ).toEqual([TRUNCATED, 'Z I'])
      expect(await client.ask(parse('TRUNCATE item'), SYNC, SYNC)).toEqual([
        TRUNCATED,
        'Z I',
        'Z I',
      ])
      expect(await itemsIn(client)).toBe('0')
    }))

  it('reads a portal in parts, within a transaction and outside', () =>
    withClients(gateway(), async (client) => {
      const read = [parse('SELECT generate_series(1, 5) AS n'), bind(), describing('P'), FLUSH]
      for (const [begin, end] of [
        ['BEGIN', 'Z T'],
        ['ROLLBACK', 'Z I'],
      ] as const) {
        await client.ask(begin)
        expect(await client.until('T', ...read)).toEqual(['1', '2', 'T n'])
        expect(await client.until('s', execute('', 2), FLUSH)).toEqual(['D 1', 'D 2', 's'])
        expect(await client.until('s', execute('', 2), FLUSH)).toEqual(['D 3', 'D 4', 's'])
        expect(await client.until('C', execute('', 2), FLUSH)).toEqual(['D 5', 'C SELECT 1'])
        expect(await client.ask(SYNC)).toEqual([end])
      }
    }))

  it('a portal of a write is read in parts', () =>
    withClients(gateway(), async (client) => {
      const sql = 'INSERT INTO item SELECT generate_series(1, 3) RETURNING id'
      await client.ask('BEGIN')
      expect(await client.until('T', parse(sql), bind(), describing('P'), FLUSH)).toEqual([
        '1',
        '2',
        'T id',
      ])
      expect(await client.until('s', execute('', 2), FLUSH)).toEqual(['D 1', 'D 2', 's'])
      expect(await client.until('C', execute('', 2), FLUSH)).toEqual(['D 3', 'C INSERT 0 1'])
      expect(await client.ask(SYNC, 'COMMIT')).toEqual(['Z T', 'C COMMIT', 'Z I'])
      expect(await itemsIn(client)).toBe('3')
    }))
})

it('the rows of a portal that is read in parts count all', () =>
  withClients(gateway(), async (client) => {
    const sql = 'INSERT INTO item SELECT generate_series(1, 3001) RETURNING id'
    const part = [execute('', 1000), SYNC]
    await client.ask('BEGIN', Buffer.concat([parse(sql), bind(), SYNC]))
    expect((await client.ask(...part)).slice(-2)).toEqual(['s', 'Z T'])
    await client.ask(...part)
    await client.ask(...part)
    expect((await client.ask(...part)).slice(-2)).toEqual([TOO_MANY, 'Z E'])
    await client.ask('COMMIT')
    expect(await itemsIn(client)).toBe('0')
  }))

describe('prepared statements', () => {
  it('are refused when they are prepared, and do not exist then', () =>
    withClients(gateway(), async (client) => {
      expect(await client.ask(parse('TRUNCATE item', 'one'), SYNC)).toEqual([TRUNCATED, 'Z I'])
      expect(await client.ask(bind([], 'one'), execute(), SYNC)).toEqual([
        'E 26000 prepared statement "one" does not exist',
        'Z I',
      ])
      expect(await client.ask(describing('S', 'one'), SYNC)).toEqual([
        'E 26000 prepared statement "one" does not exist',
        'Z I',
      ])
    }))

  it('may be prepared without being bound', () =>
    withClients(gateway(), async (client) => {
      expect(await client.ask(parse('INSERT INTO item VALUES (1)'), SYNC)).toEqual(['1', 'Z I'])
      expect(await client.ask(parse('BEGIN'), SYNC)).toEqual(['1', 'Z I'])
      expect(await client.ask('INSERT INTO item SELECT 1')).toEqual(['C INSERT 0 1', 'Z I'])
      expect(await itemsIn(client)).toBe('1')
    }))

  it.each(['', 'named'])('run as often as they are bound (name %p)', (name) =>
    withClients(gateway(), async (client) => {
      await client.ask('BEGIN')
      expect(
        await client.ask(parse('INSERT INTO item VALUES ($1)', name), describing('S', name), SYNC),
      ).toEqual(['1', 't', 'n', 'Z T'])
      for (let count = 0; count < 3; count++)
        expect(await client.ask(bind(['1'], name), execute(), SYNC)).toEqual([
          '2',
          'C INSERT 0 1',
          'Z T',
        ])
      expect(
        await client.ask(bind(['1'], name), execute(), bind(['1'], name), execute(), SYNC),
      ).toEqual(['2', 'C INSERT 0 1', '2', 'C INSERT 0 1', 'Z T'])
      await client.ask('COMMIT')
      expect(await itemsIn(client)).toBe('5')
    }),
  )

  it('may be bound in one request and executed in the next, within a transaction', () =>
    withClients(gateway(), async (client) => {
      await client.ask('BEGIN', Buffer.concat([parse('INSERT INTO item VALUES ($1)', 'one'), SYNC]))
      expect(await client.ask(bind(['1'], 'one'), SYNC)).toEqual(['2', 'Z T'])
      expect(await client.ask(execute(), SYNC)).toEqual(['C INSERT 0 1', 'Z T'])
      expect(await client.ask('COMMIT')).toEqual(['C COMMIT', 'Z I'])
      expect(await itemsIn(client)).toBe('1')
    }))

  it('are judged in the transaction that executes them', () =>
    withClients(gateway(), async (client) => {
      await client.ask(parse('CREATE TABLE one (id int)', 'ddl'), SYNC)
      await client.ask('BEGIN', 'INSERT INTO item VALUES (1)')
      expect(await client.ask(bind([], 'ddl'), execute(), SYNC)).toEqual(['2', MIXED, 'Z E'])
      await client.ask('ROLLBACK')
    }))

  it('the same text with a Query between is parsed anew', () =>
    withClients(gateway(), async (client) => {
      await client.ask(parse('SELECT 1'), SYNC)
      await client.ask('SELECT 2')
      expect(await client.ask(bind(), execute(), SYNC)).toEqual([
        'E 26000 unnamed prepared statement does not exist',
        'Z I',
      ])
    }))

  it('a Query after a Parse without Sync is judged', () =>
    withClients(gateway(), async (client) => {
      expect(await client.ask(parse('SELECT 1'), query('TRUNCATE item'))).toEqual([
        '1',
        TRUNCATED,
        'Z I',
      ])
      expect(await client.ask(run('SELECT 1'), query('INSERT INTO item SELECT 1'))).toEqual([
        ...['1', '2', 'D 1', 'C SELECT 1'],
        'C INSERT 0 1',
        'Z I',
      ])
      expect(await itemsIn(client)).toBe('1')
    }))

  it('a Query after a failed Parse without Sync is skipped', () =>
    withClients(gateway(), async (client) => {
      client.raw.send(parse('TRUNCATE item'), query('INSERT INTO item VALUES (1)'))
      expect(await client.until('Z', SYNC)).toEqual([TRUNCATED, 'Z I'])
      expect(await itemsIn(client)).toBe('0')
    }))

  it.each(['DECLARE c CURSOR FOR SELECT 1', 'PREPARE one AS SELECT 1', 'EXECUTE one'])(
    'there is no SQL for cursors and for preparing: %s',
    (sql) =>
      withClients(gateway(), async (client) => {
        expect(await client.ask('BEGIN', sql)).toEqual([
          'C BEGIN',
          'Z T',
          expect.stringMatching(/^E 0A000 unsupported statement: /),
          'Z E',
        ])
        await client.ask('ROLLBACK')
      }),
  )
})
