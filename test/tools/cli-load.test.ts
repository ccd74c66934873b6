/** Many connections through one proxy, whose server is lost again and again: no crash, no leak, and no COMMIT that is lost. */
import { Client } from 'pg'
import { createClient } from '../../adapters/pg.js'
import { eventually } from '../support/eventually.js'
import { type Running, startCommand } from '../cli/support/command.js'
import {
  type CommandDatabases,
  DSQL_HOST,
  DSQL_URL,
  startDatabases,
} from '../cli/support/databases.js'

const CONNECTIONS = 1_000
const AT_ONCE = 20
const KILLS = 10

let databases: CommandDatabases
let proxy: Running
let port: number
let metrics: string

beforeAll(async () => {
  databases = await startDatabases()
  const args = ['proxy', DSQL_URL, '--port', '0', '--no-password', '--http', '0']
  proxy = startCommand(args, { env: databases.env })
  port = Number((await proxy.printed(/:(\d+)\/postgres/))[1])
  metrics = `${(await proxy.printed(/metrics and health: (\S+)/, 'stderr'))[1]}/metrics`
})
afterAll(async () => {
  await proxy?.stop()
  await databases?.close()
})

const metric = async (name: string): Promise<number> => {
  const text = await (await fetch(metrics)).text()
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1])
}

describe('a proxy with many connections, whose sessions are killed', () => {
  it('loses no COMMIT that it has confirmed, and leaks no connection and no descriptor', async () => {
    const admin = createClient(databases.gateway.login({ host: DSQL_HOST }))
    await admin.connect()
    await admin.query('CREATE TABLE confirmed (id int PRIMARY KEY)')
    const before = await metric('process_open_fds')
    const confirmed: number[] = []
    let done = 0
    let failures = 0
    let next = 0
    const work = async (): Promise<void> => {
      while (next < CONNECTIONS) {
        const id = next++
        const client = new Client({ host: '127.0.0.1', port, user: 'app', database: 'postgres' })
        client.on('error', () => {})
        try {
          await client.connect()
          await client.query('BEGIN')
          await client.query('INSERT INTO confirmed VALUES ($1)', [id])
          await client.query('COMMIT')
          confirmed.push(id)
        } catch {
          failures++
        } finally {
          await client.end().catch(() => {})
          done++
        }
      }
    }
    const kill = async (): Promise<void> => {
      for (let time = 1; time <= KILLS; time++) {
        await eventually('more work', () => done >= (time * CONNECTIONS) / (KILLS + 1))
        for (const { processId } of databases.gateway.faults.sessions())
          databases.gateway.faults.killSession(processId)
      }
    }
    await Promise.all([kill(), ...Array.from({ length: AT_ONCE }, work)])
    expect(done).toBe(CONNECTIONS)
    expect(failures).toBeGreaterThan(0)
    expect(confirmed.length).toBeGreaterThan(CONNECTIONS / 2)
    const after = createClient(databases.gateway.login({ host: DSQL_HOST }))
    await after.connect()
    const { rows } = await after.query<{ id: number }>('SELECT id FROM confirmed')
    await after.end()
    await admin.end().catch(() => {})
    const stored = new Set(rows.map(({ id }) => id))
    expect(confirmed.filter((id) => !stored.has(id))).toEqual([])
    await eventually('the connections to be closed', async () => {
      const open = await metric('pg_iam_connections_open')
      return open === 0 && (await metric('process_open_fds')) <= before + 5
    })
    expect(proxy.child.exitCode).toBeNull()
  })
})
