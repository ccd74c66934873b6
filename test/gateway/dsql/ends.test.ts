import { once } from 'node:events'
import { eventually } from '../../support/eventually.js'
import { frontend, int32 } from '../../wire/frontend-messages.js'
import { Client } from 'pg'
import { rejectionOf } from '../../support/adapter-contract/error-chain.js'
import { pgSettings } from '../engines/checks/gateway-clients.js'
import { openPlain } from '../raw-client.js'
import {
  bind,
  type DsqlClient,
  execute,
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

beforeAll(() =>
  withClients(gateway(), async (client) => {
    await client.ask('CREATE TABLE item (id int PRIMARY KEY)')
  }),
)
beforeEach(() =>
  withClients(gateway(), async (client) => {
    await client.ask('DELETE FROM item')
  }),
)
afterEach(() => gateway().faults.clear())

async function items(client: DsqlClient): Promise<string[]> {
  const lines = await client.ask('SELECT id FROM item ORDER BY id')
  return lines.filter((line) => line.startsWith('D ')).map((line) => line.slice(2))
}

/** Resolves when no other session is left. */
function onlySession(): Promise<void> {
  return eventually('the end of the session', () => gateway().faults.sessions().length === 1)
}

describe('a client that ends its session without waiting for the replies', () => {
  it.each([
    ['with autocommit', [query('INSERT INTO item SELECT 1'), query('INSERT INTO item SELECT 2')]],
    [
      'in a transaction',
      ['BEGIN', 'INSERT INTO item VALUES (1)', 'INSERT INTO item VALUES (2)', 'COMMIT'].map(query),
    ],
    [
      'in the extended protocol',
      ['BEGIN', 'INSERT INTO item VALUES (1)', 'INSERT INTO item VALUES (2)', 'COMMIT'].map((sql) =>
        Buffer.concat([run(sql), SYNC]),
      ),
    ],
  ])('has its statements run, %s', async (_label, requests) => {
    const client = await openClient(gateway())
    client.raw.socket.end(Buffer.concat([...requests, TERMINATE]))
    client.raw.socket.destroySoon()
    await withClients(gateway(), async (other) => {
      await eventually('both rows', async () => (await items(other)).join() === '1,2')
    })
  })

  it('leaves nothing of a transaction that it has not committed', async () => {
    const client = await openClient(gateway())
    const requests = ['BEGIN', 'INSERT INTO item VALUES (1)', 'INSERT INTO item VALUES (2)']
    client.raw.send(...requests.map(query), TERMINATE)
    await client.raw.ended()
    await withClients(gateway(), async (other) => {
      await onlySession()
      expect(await items(other)).toEqual([])
    })
  })

  it('leaves no session if its connection is cut', async () => {
    const client = await openClient(gateway())
    client.raw.send(query('BEGIN'), query('INSERT INTO item VALUES (1)'), query('SELECT 1'))
    client.raw.socket.destroy()
    await withClients(gateway(), async (other) => {
      await onlySession()
      expect(await other.ask('INSERT INTO item VALUES (1)')).toEqual(['C INSERT 0 1', 'Z I'])
    })
  })
})

describe('a cancel request', () => {
  it('cancels a guarded statement, and the transaction is aborted', async () => {
    const client = new Client(pgSettings(gateway(), 'admin'))
    await client.connect()
    try {
      const { processID, secretKey } = client as unknown as Record<string, number>
      await client.query('BEGIN')
      await client.query('INSERT INTO item VALUES (1)')
      let isDone = false
      const failure = rejectionOf(
        client.query('INSERT INTO item SELECT 2 FROM pg_sleep(600)'),
      ).finally(() => (isDone = true))
      await eventually('the end of the statement', async () => {
        const socket = await openPlain(gateway())
        const packet = [int32(16), int32(80877102), int32(processID!), int32(secretKey! | 0)]
        socket.end(Buffer.concat(packet))
        await once(socket.resume(), 'close')
        return isDone
      })
      expect(await failure).toMatchObject({ code: '57014' })
      expect(await client.query('COMMIT')).toMatchObject({ command: 'ROLLBACK' })
      expect(await client.query('SELECT id FROM item')).toMatchObject({ rows: [] })
    } finally {
      await client.end()
    }
  })
})

describe('faults', () => {
  it('a conflict at COMMIT is that of the transaction, once', () =>
    withClients(gateway(), async (client) => {
      gateway().faults.raiseConflicts({ at: 'commit', times: 1 })
      await client.ask('BEGIN', 'INSERT INTO item VALUES (1)')
      expect(await client.ask(run('COMMIT'), SYNC)).toEqual([
        '1',
        '2',
        expect.stringMatching(/^E 40001 .*\(OC00/),
        'Z I',
      ])
      expect(await items(client)).toEqual([])
      expect(await client.ask('BEGIN', 'INSERT INTO item VALUES (1)', 'COMMIT')).toContain(
        'C COMMIT',
      )
      expect(await items(client)).toEqual(['1'])
    }))

  it('a conflict at COMMIT in a Query', () =>
    withClients(gateway(), async (client) => {
      gateway().faults.raiseConflicts({ at: 'commit', times: 1 })
      await client.ask('BEGIN', 'INSERT INTO item VALUES (1)')
      expect(await client.ask('COMMIT')).toEqual([
        expect.stringMatching(/^E 40001 .*\(OC00/),
        'Z I',
      ])
      expect(await items(client)).toEqual([])
    }))

  it('a conflict of a statement with autocommit leaves nothing of it', () =>
    withClients(gateway(), async (client) => {
      gateway().faults.raiseConflicts({ at: 'statement', times: 1 })
      expect(await client.ask('INSERT INTO item SELECT 1')).toEqual([
        expect.stringMatching(/^E 40001 .*\(OC00/),
        'Z I',
      ])
      expect(await items(client)).toEqual([])
    }))

  it('a conflict of a statement in a transaction aborts it or is told at COMMIT', () =>
    withClients(gateway(), async (client) => {
      await client.ask('BEGIN')
      gateway().faults.raiseConflicts({ at: 'statement', times: 1 })
      const [first] = await client.ask('INSERT INTO item VALUES (1)')
      gateway().faults.clear()
      const [last] = await client.ask('COMMIT')
      expect([first, last].filter((line) => line?.startsWith('E 40001'))).toHaveLength(1)
      expect(await items(client)).toEqual([])
    }))

  it.each(['statement', 'before-commit', 'after-commit'] as const)(
    'a connection that is cut (%s) leaves a whole transaction or nothing',
    async (at) => {
      const client = await openClient(gateway())
      await client.ask('BEGIN', 'INSERT INTO item VALUES (1)')
      gateway().faults.cut({ at })
      client.raw.send(query('INSERT INTO item VALUES (2)'), query('COMMIT'))
      await client.raw.ended()
      await withClients(gateway(), async (other) => {
        await onlySession()
        expect(await items(other)).toEqual(at === 'after-commit' ? ['1', '2'] : [])
      })
    },
  )
})

it('a request after an error is answered, for each error that a statement can have', () =>
  withClients(gateway(), async (client) => {
    const bad = [
      'SELEC 1',
      'SELECT nothing',
      'TRUNCATE item',
      'INSERT INTO item VALUES (1), (1)',
      'INSERT INTO item SELECT generate_series(1, 3001)',
      "SELECT 'open",
      "COMMIT PREPARED 'x'",
      'SELECT 1; SELEC 2',
    ]
    for (const sql of bad) {
      expect((await client.ask(sql)).at(-1)).toBe('Z I')
      expect((await client.ask(run(sql), SYNC)).at(-1)).toBe('Z I')
      expect((await client.ask('BEGIN', sql)).at(-1)).toBe('Z E')
      expect(await client.ask(parse('ROLLBACK'), bind(), execute(), SYNC)).toEqual([
        '1',
        '2',
        'C ROLLBACK',
        'Z I',
      ])
      expect((await client.ask('BEGIN', Buffer.concat([run(sql), SYNC]))).at(-1)).toBe('Z E')
      expect(await client.ask('COMMIT')).toEqual(['C ROLLBACK', 'Z I'])
    }
    expect(await items(client)).toEqual([])
  }))
