/** The clients of other languages, and PgBouncer, on a server of handleConnection: psql, pgbench, JDBC, psycopg2, asyncpg. */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createCertificates } from '../../gateway/certificates.js'
import { type Engine, handleConnection, postgresEngine } from '../../gateway/index.js'
import { requirePrograms } from './programs.js'

const run = promisify(execFile)
const CLIENTS = join(__dirname, 'clients')
const USER = 'app'
const PASSWORD = 'sécret'

let engine: Engine
let folder: string
let authority: string
let port: number
let counted = 0
const server = createServer({ noDelay: true })
const sockets = new Set<import('node:net').Socket>()

beforeAll(async () => {
  requirePrograms(
    '/usr/bin/psql',
    '/usr/bin/pgbench',
    '/usr/bin/java',
    '/usr/share/java/postgresql.jar',
    '/usr/lib/python3/dist-packages/psycopg2',
    '/usr/lib/python3/dist-packages/asyncpg',
    '/usr/sbin/pgbouncer',
  )
  engine = await postgresEngine({ roles: [USER] })
  const { privateKey, certificate, ca } = await createCertificates(['localhost'])
  folder = mkdtempSync(join(tmpdir(), 'pg-iam-clients-'))
  chmodSync(folder, 0o755)
  authority = join(folder, 'ca.pem')
  writeFileSync(authority, ca)
  server.on('connection', (socket) => {
    sockets.add(socket)
    handleConnection(socket, {
      engine,
      tls: { key: privateKey, cert: certificate },
      auth: 'scram-sha-256',
      password: ({ startup }) => (startup?.user === USER ? PASSWORD : undefined),
      onMessage() {
        counted++
        return undefined
      },
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  ;({ port } = server.address() as AddressInfo)
})
afterAll(async () => {
  server.close()
  for (const socket of sockets) socket.destroy()
  await engine?.close()
  if (folder !== undefined) rmSync(folder, { recursive: true })
})

const environment = (ownPort = port): NodeJS.ProcessEnv => ({
  ...process.env,
  PGHOST: 'localhost',
  PGPORT: String(ownPort),
  PGUSER: USER,
  PGPASSWORD: PASSWORD,
  PGDATABASE: 'postgres',
  PGSSLMODE: 'verify-full',
  PGSSLROOTCERT: authority,
})

describe('handleConnection serves', () => {
  it('psql: several statements, \\d, \\copy, and an error', async () => {
    const words = ['-X', '-At', '-v', 'ON_ERROR_STOP=0']
    const sql = [
      'CREATE TABLE people (id int, name text)',
      String.raw`\copy people FROM PROGRAM 'printf "1\tAda\n2\tBen\n"'`,
      'SELECT count(*), max(name) FROM people; SELECT 2',
      String.raw`\d people`,
    ].flatMap((command) => ['-c', command])
    const { stdout, stderr } = await run('/usr/bin/psql', [...words, ...sql], {
      env: environment(),
    })
    expect(stdout).toContain('2|Ben\n2\n')
    expect(stdout).toContain('name|text')
    expect(stderr).toBe('')
    const failing = run('/usr/bin/psql', ['-X', '-c', 'SELECT 1 / 0'], { env: environment() })
    await expect(failing).rejects.toThrow('division by zero')
  })

  it('psql, whose cancel request ends its statement', async () => {
    const child = spawn('/usr/bin/psql', ['-X', '-c', 'SELECT pg_sleep(600)'], {
      env: environment(),
    })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk))
    const closed = once(child, 'close')
    const isAsleep = async (): Promise<boolean> => {
      const sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
      const { stdout } = await run('/usr/bin/psql', ['-X', '-At', '-c', sql], {
        env: environment(),
      })
      return stdout.trim() !== '0'
    }
    while (!(await isAsleep()));
    child.kill('SIGINT')
    await closed
    expect(stderr).toContain('canceling statement due to user request')
  })

  it.each(['simple', 'extended', 'prepared'])('pgbench in the protocol "%s"', async (protocol) => {
    const before = counted
    await run('/usr/bin/pgbench', ['-i', '-q', '-s', '1'], { env: environment() })
    const words = ['-n', '-M', protocol, '-c', '4', '-j', '2', '-t', '50']
    const { stdout } = await run('/usr/bin/pgbench', words, { env: environment() })
    expect(stdout).toContain('number of transactions actually processed: 200/200')
    expect(counted).toBeGreaterThan(before + 1_400)
  })

  const programs: [name: string, words: readonly string[], printed: string][] = [
    [
      'the JDBC driver',
      ['/usr/bin/java', '-cp', '/usr/share/java/postgresql.jar', join(CLIENTS, 'Jdbc.java')],
      '3728\n22012\n',
    ],
    [
      'psycopg2',
      ['/usr/bin/python3', join(CLIENTS, 'psycopg2_client.py')],
      '3 one,two\n12\n22012\n',
    ],
    ['asyncpg', ['/usr/bin/python3', join(CLIENTS, 'asyncpg_client.py')], '5050\n22012\n'],
  ]
  it.each(programs)('%s', async (_name, [program = '', ...words], printed) => {
    const { stdout } = await run(program, [...words, String(port), authority, USER, PASSWORD])
    expect(stdout).toBe(printed)
  })

  describe('PgBouncer', () => {
    let child: ChildProcess
    let ownPort: number

    beforeAll(async () => {
      const free = createServer().listen(0, '127.0.0.1')
      await once(free, 'listening')
      ownPort = (free.address() as AddressInfo).port
      free.close()
      await once(free, 'close')
      const users = join(folder, 'users.txt')
      writeFileSync(users, `"${USER}" "${PASSWORD}"\n`)
      const settings = join(folder, 'pgbouncer.ini')
      const lines = [
        '[databases]',
        `postgres = host=localhost port=${port} dbname=postgres`,
        '[pgbouncer]',
        'listen_addr = 127.0.0.1',
        `listen_port = ${ownPort}`,
        'unix_socket_dir =',
        'auth_type = scram-sha-256',
        `auth_file = ${users}`,
        'pool_mode = transaction',
        'default_pool_size = 2',
        'server_tls_sslmode = verify-full',
        `server_tls_ca_file = ${authority}`,
      ]
      writeFileSync(settings, `${lines.join('\n')}\n`)
      // It refuses to run as root.
      const root = process.getuid?.() === 0
      child = spawn('/usr/sbin/pgbouncer', [...(root ? ['-u', 'nobody'] : []), settings], {
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      let log = ''
      child.stderr!.setEncoding('utf8')
      while (!log.includes('process up')) {
        const [chunk] = (await once(child.stderr!, 'data')) as [string]
        log += chunk
      }
      child.stderr!.resume()
    })
    afterAll(async () => {
      child.kill('SIGINT')
      await once(child, 'close')
    })

    it('in front, which pools its clients on two sessions', async () => {
      const env = { ...environment(ownPort), PGSSLMODE: 'disable' }
      const words = ['-n', '-S', '-c', '10', '-j', '2', '-t', '20']
      const { stdout } = await run('/usr/bin/pgbench', words, { env })
      expect(stdout).toContain('number of transactions actually processed: 200/200')
    })
  })
})
