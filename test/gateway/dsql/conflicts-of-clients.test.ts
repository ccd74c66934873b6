import { AuroraDSQLPool } from '@aws/aurora-dsql-node-postgres-connector'
import { CLIENT_NAMES, loadClient } from '../../clients/index.js'
import { openClient } from '../../clients/client.js'
import { type Gateway, startGateway } from '../../../gateway/index.js'
import { withClient } from '../engines/checks/gateway-clients.js'

/** Tasks that increment the same row, and how often each does. */
const TASKS = 4
const TIMES = 5
const PATIENCE = { maxAttempts: 100, maxDelayMs: 50 }

describe('transactions of several connections that change one row, in DSQL mode', () => {
  let gateway: Gateway

  beforeAll(async () => {
    gateway = await startGateway({ engine: 'postgres', webSocket: true })
    await withClient(gateway, async (client) => {
      await client.query('CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL)')
    })
  })
  beforeEach(() =>
    withClient(gateway, async (client) => {
      await client.query('DELETE FROM counter')
      await client.query('INSERT INTO counter VALUES (1, 0)')
    }),
  )
  afterAll(() => gateway?.close())

  const countOf = (): Promise<number> =>
    withClient(gateway, async (client) => {
      const { rows } = await client.query<{ n: number }>('SELECT n FROM counter WHERE id = 1')
      return rows[0]!.n
    })

  it.each(CLIENT_NAMES)('lose no increment with the transaction function of %s', async (name) => {
    const client = await loadClient(name)
    const open = openClient(client.entries[0]!, gateway.login({ user: 'app' }), TASKS)
    let calls = 0
    const task = async (): Promise<void> => {
      for (let turn = 0; turn < TIMES; turn++)
        await open.transaction(async (statements) => {
          calls++
          const [row] = await statements.run('SELECT n FROM counter WHERE id = 1')
          await statements.run(`UPDATE counter SET n = ${Number(row!['n']) + 1} WHERE id = 1`)
        }, PATIENCE)
    }
    try {
      await Promise.all(Array.from({ length: TASKS }, task))
    } finally {
      await open.close()
    }
    expect(await countOf()).toBe(TASKS * TIMES)
    // Without conflicts, the test would show nothing.
    expect(calls).toBeGreaterThan(TASKS * TIMES)
  })

  it("lose no increment with AWS's connector for node-postgres, which retries by itself", async () => {
    const { host, port, ca, credentials } = gateway
    const { secretAccessKey } = credentials
    const pool = new AuroraDSQLPool({
      host,
      port,
      user: 'app',
      region: 'us-east-1',
      customCredentialsProvider: async () => ({ ...credentials, secretAccessKey }),
      ssl: { ca },
      max: TASKS,
      retry: { maxRetries: 100 },
    })
    pool.on('error', () => {})
    const task = async (): Promise<void> => {
      for (let turn = 0; turn < TIMES; turn++)
        await pool.transaction(async (client) => {
          const { rows } = await client.query('SELECT n FROM counter WHERE id = 1')
          await client.query('UPDATE counter SET n = $1 WHERE id = 1', [rows[0].n + 1])
        })
    }
    await Promise.all(Array.from({ length: TASKS }, task))
    await pool.end()
    expect(await countOf()).toBe(TASKS * TIMES)
  })
})
