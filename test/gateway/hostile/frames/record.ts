/**
 * Records what clients and a PostgreSQL server send each other, into the JSON files of this folder. Run by hand, with the Debian packages of
 * test/tools/gateway-clients.test.ts:
 * `node --require ./test/support/typescript-hook.cjs --eval "require('./test/gateway/hostile/frames/record.ts')"`
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { Client } from 'pg'
import postgres from 'postgres'
import { createCertificates } from '../../../../gateway/certificates.js'
import { sslRequestPacket } from '../../../../wire/startup.js'
import { launchPostgres, type PostgresServer } from '../../../support/launch-postgres.js'
import type { Recording } from './recordings.js'

const run = promisify(execFile)
const USER = 'app'
/** It is in the recordings, and is that of no other server. */
const PASSWORD = 'secret'
const PROGRAMS = join(__dirname, '../../../tools/clients')

/** Relays connections to the server, and notes what each side sends. With a context, an SSLRequest is answered with TLS. */
async function startRecorder(
  target: PostgresServer,
  secure: SecureContext | undefined,
): Promise<{ server: Server; port: number; connections: string[][] }> {
  const connections: string[][] = []
  const relay = (client: Socket): void => {
    const notes: { from: string; chunks: Buffer[] }[] = []
    const lines: string[] = []
    connections.push(lines)
    const note = (from: 'F' | 'B', chunk: Buffer): void => {
      const last = notes.at(-1)
      if (last?.from === from) last.chunks.push(chunk)
      else notes.push({ from, chunks: [chunk] })
      const { chunks } = notes.at(-1)!
      lines[notes.length - 1] = `${from} ${Buffer.concat(chunks).toString('base64')}`
    }
    const upstream = connect({ host: target.host, port: target.port, noDelay: true })
    client.on('data', (chunk: Buffer) => {
      note('F', chunk)
      upstream.write(chunk)
    })
    upstream.on('data', (chunk: Buffer) => {
      note('B', chunk)
      client.write(chunk)
    })
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const)
      one.on('error', () => {}).on('close', () => other.destroy())
  }
  const server = createServer({ noDelay: true }, (socket) => {
    if (secure === undefined) {
      relay(socket)
      return
    }
    socket.once('data', (first: Buffer) => {
      if (!first.equals(sslRequestPacket())) throw new Error('the client has not asked for TLS')
      socket.write('S')
      relay(new TLSSocket(socket, { isServer: true, secureContext: secure }))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, port: (server.address() as AddressInfo).port, connections }
}

async function withPg(port: number): Promise<void> {
  const client = new Client({
    host: '127.0.0.1',
    port,
    user: USER,
    password: PASSWORD,
    database: 'postgres',
  })
  await client.connect()
  await client.query('SELECT 1 AS one; SELECT 2 AS two')
  for (const id of [1, 2])
    await client.query({ name: 'named', text: 'SELECT $1::int + 1 AS next', values: [id] })
  await client.query('SELECT $1::bytea, $2::text', [Buffer.from([0, 1, 255]), null])
  await client.query('SELECT 1 / $1::int', [0]).catch(() => {})
  await Promise.all([client.query('BEGIN'), client.query("SELECT 'é'"), client.query('COMMIT')])
  await client.end()
}

async function withPostgresJs(port: number): Promise<void> {
  const sql = postgres({
    ...{ host: '127.0.0.1', port, user: USER, password: PASSWORD, database: 'postgres' },
    ...{ max: 1, fetch_types: false, onnotice: () => {} },
  })
  await Promise.all([sql`SELECT ${1}::int AS a`, sql`SELECT ${'b'}::text AS b`])
  await sql.begin(async (own) => {
    await own`CREATE TEMP TABLE copied (n int, t text)`
    const copy = await own`COPY copied FROM STDIN`.writable()
    copy.end('1\tone\n2\ttwo\n')
    await once(copy, 'finish')
  })
  await sql`SELECT * FROM copied`.cursor(1, () => {})
  await sql`SELECT 1 / ${0}::int`.catch(() => {})
  await sql.unsafe('SELECT 1; SELECT 2')
  await sql.end()
}

function versionOfModule(name: string): string {
  const file = join(__dirname, '../../../../node_modules', name, 'package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

async function versionOf(debianPackage: string): Promise<string> {
  return (await run('dpkg-query', ['-W', '-f', '${Version}', debianPackage])).stdout
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'pg-iam-frames-'))
  const server = await launchPostgres({
    roles: [USER],
    accessRules: ['host all all 127.0.0.1/32 password'],
  })
  const { privateKey, certificate, ca } = await createCertificates(['localhost'])
  const context = createSecureContext({ key: privateKey, cert: certificate })
  const authority = join(folder, 'ca.pem')
  writeFileSync(authority, ca)
  const admin = new Client({
    ...{ host: server.socketDirectory, port: server.port, user: server.superuser },
    database: 'postgres',
  })
  await admin.connect()
  await admin.query(`ALTER ROLE ${USER} PASSWORD '${PASSWORD}'`)
  await admin.end()

  /** @param mode `plain`, in which an SSLRequest is refused by the server, or `tls` */
  const record = async (
    file: string,
    client: string,
    mode: 'plain' | 'tls',
    work: (port: number) => Promise<unknown>,
  ): Promise<void> => {
    const recorder = await startRecorder(server, mode === 'tls' ? context : undefined)
    await work(recorder.port)
    // pgbench looks its tables up over a first connection, in each protocol in the same way.
    if (file === 'pgbench-extended' || file === 'pgbench-prepared') recorder.connections.shift()
    recorder.server.close()
    await once(recorder.server, 'close')
    const recording: Recording = { client, connections: recorder.connections }
    writeFileSync(join(__dirname, `${file}.json`), JSON.stringify(recording, undefined, 2))
  }
  const environment = (port: number): NodeJS.ProcessEnv => ({
    ...process.env,
    ...{ PGHOST: '127.0.0.1', PGPORT: String(port), PGDATABASE: 'postgres' },
    ...{ PGUSER: USER, PGPASSWORD: PASSWORD, PGSSLMODE: 'prefer' },
  })
  const program = (words: readonly string[]) => (port: number) =>
    run(words[0]!, words.slice(1), { env: environment(port) })
  /** A program of test/tools/clients, which connects with verified TLS. */
  const own = (words: readonly string[]) => (port: number) =>
    run(words[0]!, [...words.slice(1), String(port), authority, USER, PASSWORD])

  try {
    const libpq = await versionOf('postgresql-client-15')
    const commands = [
      'CREATE TEMP TABLE people (id int, name text)',
      String.raw`\copy people FROM PROGRAM 'printf "1\tAda\n2\tBen\n"'`,
      'SELECT count(*), max(name) FROM people; SELECT 2',
      String.raw`\dt people`,
      'SELECT 1 / 0',
      String.raw`\copy people TO '/dev/null'`,
    ].flatMap((command) => ['-c', command])
    await record('psql', `psql ${libpq}`, 'plain', program(['/usr/bin/psql', '-X', ...commands]))
    await program(['/usr/bin/pgbench', '-i', '-q'])(server.port)
    for (const protocol of ['simple', 'extended', 'prepared']) {
      const words = ['/usr/bin/pgbench', '-n', '-M', protocol, '-t', '2']
      const name = `pgbench ${libpq}, protocol ${protocol}`
      await record(`pgbench-${protocol}`, name, 'plain', program(words))
    }
    await record('pg', `pg ${versionOfModule('pg')}`, 'plain', withPg)
    await record(
      'postgres-js',
      `Postgres.js ${versionOfModule('postgres')}`,
      'plain',
      withPostgresJs,
    )
    await record(
      'jdbc',
      `the JDBC driver ${await versionOf('libpostgresql-jdbc-java')}`,
      'tls',
      own([
        ...['/usr/bin/java', '-cp', '/usr/share/java/postgresql.jar'],
        join(PROGRAMS, 'Jdbc.java'),
      ]),
    )
    for (const name of ['psycopg2', 'asyncpg'])
      await record(
        name,
        `${name} ${await versionOf(`python3-${name}`)}`,
        'tls',
        own(['/usr/bin/python3', join(PROGRAMS, `${name}_client.py`)]),
      )
    await run('npx', ['prettier', '--write', __dirname])
  } finally {
    await server.close()
    rmSync(folder, { recursive: true })
  }
}

void main()
