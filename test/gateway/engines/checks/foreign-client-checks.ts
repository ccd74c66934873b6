/** Clients that are independent of this package: psql, and AWS's own connector for Aurora DSQL. */
import { AuroraDSQLClient, AuroraDSQLPool } from '@aws/aurora-dsql-node-postgres-connector'
import { execFile } from 'node:child_process'
import { access, constants, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { Client } from 'pg'
import type { Gateway } from '../../../../gateway/index.js'
import { sdkToken } from '../../auth/dsql-setting.js'

export function describeForeignClients(gatewayOf: () => Gateway): void {
  let directory: string
  let caFile: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'pg-iam-ca-'))
    caFile = join(directory, 'ca.pem')
    await writeFile(caFile, gatewayOf().ca)
  })
  afterAll(() => rm(directory, { recursive: true }))

  const tokenFor = (hostname: string, settings: object = {}): Promise<string> => {
    const { accessKeyId, secretAccessKey } = gatewayOf().credentials
    return sdkToken({ accessKeyId, secretAccessKey, hostname, ...settings })
  }
  const asLibpq = (host: string, user: string, token: string): Attempt => {
    const { host: address, port } = gatewayOf()
    return { host, address, port, user, token, caFile }
  }

  it('accepts psql with a token of the AWS SDK, for the cluster and for localhost', async () => {
    for (const host of [gatewayOf().clusters[0]!, 'localhost']) {
      const app = await libpqAnswer(asLibpq(host, 'app', await tokenFor(host)))
      expect(app).toBe('app 42')
      const token = await tokenFor(host, { admin: true })
      expect(await libpqAnswer(asLibpq(host, 'admin', token))).toBe('admin 42')
    }
  })

  it("sends psql Aurora DSQL's error if the token is wrong", async () => {
    const host = gatewayOf().clusters[0]!
    const attempt = libpqAnswer(asLibpq(host, 'app', await tokenFor(host, { admin: true })))
    await expect(attempt).rejects.toThrow(/unable to accept connection, access denied/)
  })

  it('cannot be used by psql without the certificate authority', async () => {
    const other = join(directory, 'other.pem')
    const { createCertificates } = await import('../../../../gateway/certificates.js')
    await writeFile(other, (await createCertificates(['localhost'])).ca)
    const attempt = asLibpq('localhost', 'app', await tokenFor('localhost'))
    await expect(libpqAnswer({ ...attempt, caFile: other })).rejects.toThrow(/certificate/)
  })

  it("serves a pool of AWS's connector for node-postgres by IP address", async () => {
    const { host, port, ca, credentials } = gatewayOf()
    const pool = new AuroraDSQLPool({
      host,
      port,
      user: 'app',
      region: 'us-east-1',
      customCredentialsProvider: async () => ({
        ...credentials,
        secretAccessKey: credentials.secretAccessKey,
      }),
      ssl: { ca },
      max: 3,
    })
    pool.on('error', () => {})
    await pool.query('create table connector (id int primary key, v text)')
    await pool.transaction((client) => client.query(`insert into connector values (1, 'one')`))
    const many = Array.from({ length: 12 }, () => pool.query('select v from connector'))
    for (const { rows } of await Promise.all(many)) expect(rows).toEqual([{ v: 'one' }])
    await pool.query('drop table connector')
    await pool.end()
  })

  it("serves AWS's connector for node-postgres by the name of the cluster", async () => {
    const { host, port, ca, credentials, clusters } = gatewayOf()
    const client = new AuroraDSQLClient({
      host: clusters[0]!,
      customCredentialsProvider: credentials,
      ssl: { ca },
      // Emulates DNS or a hosts file.
      stream: () => {
        const socket = new Socket()
        const dial = socket.connect.bind(socket)
        return Object.assign(socket, { connect: () => dial({ host, port }) })
      },
    })
    await client.connect()
    const { rows } = await client.query('select current_user as user')
    expect(rows).toEqual([{ user: 'admin' }])
    await client.end()
  })
}

interface Attempt {
  host: string
  address: string
  port: number
  user: string
  token: string
  caFile: string
}

/**
 * Returns psql's output for a query of user and answer, over a verified connection to `host`. If the machine has no psql, pg logs in
 * with the same checks, so that the gateway's side is tested in any case.
 */
async function libpqAnswer(attempt: Attempt): Promise<string> {
  const psql = await findPsql()
  return psql === undefined ? pgAnswer(attempt) : psqlAnswer(psql, attempt)
}

const SQL = `select current_user || ' ' || 6 * 7 as answer`

async function psqlAnswer(psql: string, attempt: Attempt): Promise<string> {
  const { host, address, port, user, token, caFile } = attempt
  const connection = `host=${host} hostaddr=${address} port=${port} user=${user} dbname=postgres sslmode=verify-full`
  const { stdout } = await promisify(execFile)(psql, ['-X', '-A', '-t', '-c', SQL, connection], {
    env: { ...process.env, PGPASSWORD: token, PGSSLROOTCERT: caFile, PGCONNECT_TIMEOUT: '20' },
  })
  return stdout.trim()
}

async function pgAnswer({ host, address, port, user, token, caFile }: Attempt): Promise<string> {
  const { readFile } = await import('node:fs/promises')
  const ssl = { ca: await readFile(caFile, 'utf8'), servername: host }
  const client = new Client({
    host: address,
    port,
    user,
    database: 'postgres',
    password: token,
    ssl,
  })
  await client.connect()
  try {
    const { rows } = await client.query(SQL)
    return (rows[0] as { answer: string }).answer
  } finally {
    await client.end()
  }
}

async function findPsql(): Promise<string | undefined> {
  const installed = await readdir('/usr/lib/postgresql').catch(() => [])
  const directories = [
    ...installed.map((version) => `/usr/lib/postgresql/${version}/bin`),
    ...(process.env['PATH']?.split(delimiter) ?? []),
  ]
  for (const directory of directories) {
    const psql = join(directory, 'psql')
    const runs = await access(psql, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (runs) return psql
  }
  return undefined
}
