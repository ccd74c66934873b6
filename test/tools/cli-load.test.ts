/** Many connections through one proxy, whose server is lost again and again: no crash, no leak, and no COMMIT that is lost. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { createCertificates } from '../../gateway/certificates.js'
import { type Gateway, type GatewayOptions, startGateway } from '../../gateway/index.js'
import { type Running, startCommand } from '../cli/support/command.js'
import { DSQL_HOST } from '../cli/support/databases.js'
import { eventually } from '../support/eventually.js'
import { launchPostgres, type PostgresServer } from '../support/launch-postgres.js'

const CONNECTIONS = 1_000
const AT_ONCE = 20
const KILLS = 10

let postgres: PostgresServer
let gateway: Gateway
let admin: Client
let folder: string
let proxy: Running
let port: number
let metrics: string
/** Ends the gateway with all its sessions, and starts it again at the same address, on the same PostgreSQL. */
let restart: () => Promise<void>

beforeAll(async () => {
  postgres = await launchPostgres({ roles: ['app'] })
  const { socketDirectory, superuser: user, database } = postgres
  admin = new Client({ host: socketDirectory, port: postgres.port, user, database, ssl: false })
  await admin.connect()
  await admin.query('CREATE TABLE confirmed (id int PRIMARY KEY); GRANT ALL ON confirmed TO app')
  const { ca, certificate: cert, privateKey: key } = await createCertificates([DSQL_HOST])
  const keys = { accessKeyId: 'AKIAOFTHELOADTEST123', secretAccessKey: 'of the load test' }
  const hosts = [DSQL_HOST]
  const principals = [{ ...keys, roles: ['app'] }]
  const options: GatewayOptions = {
    endpoints: [{ provider: 'aurora-dsql', hosts, principals }],
    database,
    upstream: { host: socketDirectory, port: postgres.port },
    tls: { cert, key },
  }
  gateway = await startGateway(options)
  restart = async () => {
    await gateway.close()
    gateway = await startGateway({ ...options, port: gateway.port })
  }
  folder = mkdtempSync(join(tmpdir(), 'pg-iam-load-'))
  const PGSSLROOTCERT = join(folder, 'ca.pem')
  writeFileSync(PGSSLROOTCERT, ca)
  const args = ['proxy', `postgres://app@${DSQL_HOST}/${database}`, '--port', '0', '--no-password']
  proxy = startCommand([...args, '--http', '0'], {
    env: {
      AWS_ACCESS_KEY_ID: keys.accessKeyId,
      AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
      PGSSLROOTCERT,
      PG_IAM_CONNECT_TO: `127.0.0.1:${gateway.port}`,
    },
  })
  port = Number((await proxy.printed(/127\.0\.0\.1:(\d+)/))[1])
  metrics = `${(await proxy.printed(/metrics and health: (\S+)/, 'stderr'))[1]}/metrics`
})
afterAll(async () => {
  await proxy?.stop()
  await gateway?.close()
  await admin?.end()
  await postgres?.close()
  rmSync(folder, { recursive: true })
})

const metric = async (name: string): Promise<number> => {
  const text = await (await fetch(metrics)).text()
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1])
}

describe('a proxy with many connections, whose server is killed ten times', () => {
  it('loses no COMMIT that it has confirmed, and leaks no connection and no descriptor', async () => {
    const before = await metric('process_open_fds')
    const confirmed: number[] = []
    let done = 0
    let failures = 0
    let next = 0
    const work = async (): Promise<void> => {
      while (next < CONNECTIONS) {
        const id = next++
        const { database } = postgres
        const client = new Client({ host: '127.0.0.1', port, user: 'app', database, ssl: false })
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
        // The sessions, the server with its port, or the backends behind it.
        if (time % 3 === 0) await restart()
        else if (time % 3 === 1)
          for (const { processId } of gateway.faults.sessions())
            gateway.faults.killSession(processId)
        else
          await admin.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'",
          )
      }
    }
    await Promise.all([kill(), ...Array.from({ length: AT_ONCE }, work)])
    expect(done).toBe(CONNECTIONS)
    expect(failures).toBeGreaterThan(0)
    expect(confirmed.length).toBeGreaterThan(CONNECTIONS / 2)
    const { rows } = await admin.query<{ id: number }>('SELECT id FROM confirmed')
    const stored = new Set(rows.map(({ id }) => id))
    expect(confirmed.filter((id) => !stored.has(id))).toEqual([])
    await eventually('the connections to be closed', async () => {
      const open = await metric('pg_iam_connections_open')
      return open === 0 && (await metric('process_open_fds')) <= before + 5
    })
    expect(proxy.child.exitCode).toBeNull()
  })
})
