import { once } from 'node:events'
import { eventually } from '../../support/eventually.js'
import { frontend } from '../../wire/frontend-messages.js'
import {
  bind,
  type DsqlClient,
  execute,
  FLUSH,
  openClient,
  parse,
  query,
  run,
  SYNC,
  useDsqlGateway,
  withClients,
} from './dsql-clients.js'

const gateway = useDsqlGateway()
const TERMINATE = frontend('X')
const MANY = 'INSERT INTO item SELECT generate_series(1, 3001)'
const rowsFrom = (first: number): string =>
  `INSERT INTO item VALUES ${Array.from({ length: 2_000 }, (_, index) => `(${first + index})`).join(', ')}`

beforeAll(() =>
  withClients(gateway(), async (client) => {
    await client.ask('CREATE TABLE item (id int PRIMARY KEY)')
  }),
)
beforeEach(() =>
  withClients(gateway(), async (client) => {
    for (let left = 2; left > 0; left--)
      await client.ask('DELETE FROM item WHERE id IN (SELECT id FROM item LIMIT 3000)')
  }),
)

async function count(client: DsqlClient): Promise<string | undefined> {
  const lines = await client.ask('SELECT count(*) FROM item')
  return lines.find((line) => line.startsWith('D '))
}

describe('more than 3,000 rows without BEGIN leave nothing', () => {
  it.each([
    ['with a COMMIT in the same query', [query(`${MANY}; COMMIT`)]],
    ['with a COMMIT in the same pipeline', [run(MANY), run('COMMIT'), SYNC]],
    [
      'in two statements that a Flush separates',
      [run(rowsFrom(1)), FLUSH, run(rowsFrom(5_000)), SYNC],
    ],
  ])('%s', (_label, messages) =>
    withClients(gateway(), async (client) => {
      const lines = await client.ask(...messages)
      expect(lines.join('\n')).toContain('54000')
      expect(await count(client)).toBe('D 0')
    }),
  )
})

describe('a client that ends its session', () => {
  it('has the statement run that follows a COMMIT in the same burst', async () => {
    const client = await openClient(gateway())
    const sql = ['BEGIN', 'INSERT INTO item VALUES (1)', 'COMMIT', 'INSERT INTO item VALUES (2)']
    client.raw.socket.write(Buffer.concat([...sql.map(query), TERMINATE]))
    await once(client.raw.socket.resume(), 'close')
    await withClients(gateway(), async (other) => {
      await eventually('both rows', async () => (await count(other)) === 'D 2')
    })
  })

  it('within a COPY leaves no session behind', async () => {
    const client = await openClient(gateway())
    client.raw.socket.write(
      Buffer.concat([query('COPY item FROM STDIN'), frontend('d', Buffer.from('1\n')), TERMINATE]),
    )
    await once(client.raw.socket.resume(), 'close')
    await eventually('the end of the session', () => gateway().faults.sessions().length === 0)
  })
})

it('a name that JavaScript objects have is an unknown setting', () =>
  withClients(gateway(), async (client) => {
    expect((await client.ask('SHOW constructor')).join('\n')).toContain('42704')
    expect(await count(client)).toBe('D 0')
  }))

it('a Parse that the engine refuses leaves the statement of that name as it was', () =>
  withClients(gateway(), async (client) => {
    await client.ask(parse(MANY, 's'), SYNC)
    expect((await client.ask(parse('SELECT 1', 's'), SYNC)).join('\n')).toContain('42P05')
    expect((await client.ask(bind([], 's'), execute(), SYNC)).join('\n')).toContain('54000')
    expect(await count(client)).toBe('D 0')
  }))

it('a conflict while a statement is parsed is told at the statement, with no reply too many', () =>
  withClients(gateway(), async (client) => {
    const other = await openClient(gateway())
    await other.ask('BEGIN')
    await other.ask('ALTER TABLE item ADD COLUMN x int')
    await client.ask('BEGIN')
    const lines = await client.ask(run('UPDATE item SET id = 5'), SYNC)
    expect(lines.join('\n')).toContain('40001')
    expect(lines.join('\n')).not.toContain('UPDATE 1')
    await client.ask('ROLLBACK')
    await other.ask('ROLLBACK')
    await other.close()
  }))

it('a syntax error in an aborted transaction is told as one, and the state stays aborted', () =>
  withClients(gateway(), async (client) => {
    await client.ask('BEGIN', 'SELECT 1 / 0')
    for (const wrong of ['SELEC 1', Buffer.concat([run('SELEC 1'), SYNC])]) {
      const lines = await client.ask(wrong)
      expect(lines.join('\n')).toContain('42601')
      expect(lines.at(-1)).toBe('Z E')
    }
    await client.ask('ROLLBACK')
  }))

it('a role that IAM principals are mapped to cannot be dropped', () =>
  withClients(gateway(), async (client) => {
    const arn = 'arn:aws:iam::111122223333:role/mapped'
    await client.ask('CREATE ROLE mapped WITH LOGIN')
    await client.ask(`AWS IAM GRANT mapped TO '${arn}'`)
    expect((await client.ask('DROP ROLE mapped')).join('\n')).toContain('2BP01')
    await client.ask(`AWS IAM REVOKE mapped FROM '${arn}'`)
    expect(await client.ask('DROP ROLE mapped')).toContain('C DROP ROLE')
  }))

it.each([
  ['ALTER TABLE item DROP CONSTRAINT item_pkey', '0A000'],
  ['EXPLAIN ANALYZE CREATE TABLE other AS SELECT 1', '0A000'],
  [
    'CREATE TABLE other (a int, b int, c int, d int, e int, f int, g int, h int, i int, PRIMARY KEY (a, b, c, d, e, f, g, h, i))',
    '54011',
  ],
  [`SELECT sys.run_job('x', 'TRUNCATE item', 'item', '')`, '42501'],
  [`CALL sys.alter_table('TRUNCATE item', 'item', ARRAY['id'])`, '42501'],
  [`SELECT sys.new_job('INDEX_BUILD', 0, 0, 'x', NULL)`, '42501'],
  [`ALTER ROLE app SET work_mem = '4MB'`, '0A000'],
])('is refused: %s', (sql, code) =>
  withClients(gateway(), async (client) => {
    expect((await client.ask(sql)).join('\n')).toContain(code)
  }),
)
