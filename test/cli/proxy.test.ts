/** `pg-iam proxy` as a child process, between clients and a gateway that verifies its tokens. */
import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { Client, type ClientConfig } from 'pg'
import { createClient } from '../../adapters/pg.js'
import { createCertificates } from '../../gateway/certificates.js'
import { eventually } from '../support/eventually.js'
import { type Running, runCommand, startCommand } from './support/command.js'
import {
  type CommandDatabases,
  DSQL_HOST,
  DSQL_URL,
  RDS_URL,
  startDatabases,
} from './support/databases.js'

let databases: CommandDatabases
const proxies: Running[] = []

beforeAll(async () => {
  databases = await startDatabases()
})
afterAll(() => databases?.close())
afterEach(async () => {
  databases.gateway.faults.clear()
  await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()))
})

interface StartedProxy extends Running {
  readonly url: string
  readonly password: string | undefined
}

/** Starts a proxy, and waits for its first address. */
async function startProxy(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<StartedProxy> {
  const running = startCommand(['proxy', '--port', '0', ...args], {
    env: { ...databases.env, ...env },
    cwd: databases.folder,
  })
  proxies.push(running)
  const [, url = ''] = await running.printed(/: (postgres:\/\/\S+)\n/)
  const isSecret = !args.some((each) => /password/.test(each)) && !args.includes('--socket-dir')
  const password = isSecret ? (await running.printed(/^password: (\S+)\n/m))[1] : undefined
  return { ...running, url, password }
}

async function connected(config: ClientConfig): Promise<Client> {
  const client = new Client(config)
  client.on('error', () => {})
  await client.connect()
  return client
}
const clientOf = ({ url, password }: StartedProxy, config: ClientConfig = {}): Promise<Client> => {
  const { hostname, port, username, pathname } = new URL(url)
  return connected({
    host: hostname,
    port: Number(port),
    user: username,
    database: pathname.slice(1),
    ...(password === undefined ? {} : { password }),
    ...config,
  })
}
const failure = (work: Promise<unknown>): Promise<Error & { code?: string; hint?: string }> =>
  work.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: unknown) => error as Error,
  )
/** `once` would reject with the error that precedes the end. */
const endOf = (client: Client): Promise<void> => new Promise((end) => client.once('end', end))
const portOf = ({ url }: StartedProxy): number => Number(new URL(url).port)

describe('pg-iam proxy', () => {
  it('logs each connection in with a token of its own, over TLS', async () => {
    const before = databases.gateway.stats().loginsAccepted
    const proxy = await startProxy([DSQL_URL])
    const clients = await Promise.all([clientOf(proxy), clientOf(proxy)])
    for (const client of clients) {
      const { rows } = await client.query<{ me: string; n: number }>(
        'SELECT current_user AS me, $1::int AS n',
        [7],
      )
      expect(rows).toEqual([{ me: 'app', n: 7 }])
      await client.end()
    }
    expect(databases.gateway.stats().loginsAccepted).toBe(before + 2)
  })

  it('lets nobody in without its password, which no message has', async () => {
    const proxy = await startProxy([DSQL_URL, '--verbose'])
    const wrong = await failure(clientOf({ ...proxy, password: 'wrong' }))
    expect(wrong.code).toBe('28P01')
    const other = await failure(clientOf(proxy, { user: 'admin' }))
    expect([other.code, other.message, other.hint]).toEqual([
      '28000',
      'the proxy logs in as "app", not as "admin"',
      'Connect as the user app.',
    ])
    const { stderr } = await proxy.stop()
    expect(stderr).not.toContain(proxy.password)
    expect(stderr).not.toMatch(/X-Amz-Signature/)
  })

  it('takes its password from a file that others cannot read', async () => {
    const file = join(databases.folder, 'password')
    writeFileSync(file, 'of my own\n', { mode: 0o600 })
    const proxy = await startProxy([DSQL_URL, '--password-file', file])
    await (await clientOf({ ...proxy, password: 'of my own' })).end()
    expect((await proxy.stop()).stdout).not.toContain('password')
    chmodSync(file, 0o644)
    const args = ['proxy', DSQL_URL, '--port', '0', '--password-file', file]
    const refused = await runCommand(args, { env: databases.env })
    expect(refused.code).toBe(2)
    expect(refused.stderr).toMatch(/others can read .*chmod 600/)
  })

  it('needs no password with --no-password', async () => {
    const proxy = await startProxy([DSQL_URL, '--no-password'])
    await (await clientOf(proxy)).end()
  })

  it('serves Unix sockets that only their owner can use, without a password', async () => {
    const folder = join(databases.folder, 'sockets')
    const running = startCommand(
      ['proxy', `a=${DSQL_URL}`, `b=${RDS_URL}`, '--socket-dir', folder],
      {
        env: databases.env,
      },
    )
    proxies.push(running)
    await running.printed(/^b: /m)
    for (const port of [6432, 6433]) {
      const client = await connected({ host: folder, port, user: 'app', database: 'postgres' })
      expect((await client.query('SELECT current_user AS me')).rows).toEqual([{ me: 'app' }])
      await client.end()
      expect(statSync(join(folder, `.s.PGSQL.${port}`)).mode & 0o777).toBe(0o600)
    }
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    // One that has died leaves its sockets, which the next one replaces.
    running.child.kill('SIGKILL')
    await running.ended
    const next = startCommand(['proxy', DSQL_URL, '--socket-dir', folder], { env: databases.env })
    proxies.push(next)
    await next.printed(/postgres:/)
    const second = await runCommand(['proxy', DSQL_URL, '--socket-dir', folder], {
      env: databases.env,
    })
    expect([second.code, second.stderr]).toEqual([
      1,
      expect.stringMatching(/Another program uses it/),
    ])
    const open = join(databases.folder, 'open')
    mkdirSync(open)
    chmodSync(open, 0o755)
    const refused = await runCommand(['proxy', DSQL_URL, '--socket-dir', open], {
      env: databases.env,
    })
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringMatching(/chmod 700/)])
  })

  it('serves several targets, at ports of their own or by the name of the database', async () => {
    const proxy = await startProxy([`orders=${DSQL_URL}`, `shop=${RDS_URL}`, '--by-database'])
    const tables = await Promise.all(
      ['orders', 'shop'].map(async (database) => {
        const client = await clientOf(proxy, { database })
        const { rows } = await client.query('SHOW transaction_isolation')
        await client.end()
        return rows
      }),
    )
    expect(tables).toEqual([
      [{ transaction_isolation: 'repeatable read' }],
      [{ transaction_isolation: 'read committed' }],
    ])
    const unknown = await failure(clientOf(proxy, { database: 'postgres' }))
    expect([unknown.code, unknown.hint]).toEqual([
      '3D000',
      'Connect to one of the databases orders, shop.',
    ])
  })

  it('passes the database of the client on, and takes that of the target for one named as the user', async () => {
    const proxy = await startProxy([RDS_URL])
    expect((await failure(clientOf(proxy, { database: 'other' }))).code).toBe('3D000')
    const client = await clientOf(proxy, { database: 'app' })
    expect((await client.query('SELECT current_database() AS name')).rows).toEqual([
      { name: 'postgres' },
    ])
    await client.end()
  })

  it('passes cancel requests on', async () => {
    const proxy = await startProxy([DSQL_URL])
    const client = await clientOf(proxy)
    const asleep = failure(client.query('SELECT pg_sleep(600)'))
    const observer = createClient(databases.gateway.login({ host: DSQL_HOST }))
    await observer.connect()
    await eventually('the statement to run', async () => {
      const sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
      return (await observer.query(sql)).rowCount === 1
    })
    await observer.end()
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number }
    const request = Buffer.alloc(16)
    for (const [index, value] of [16, 80877102, processID, secretKey].entries())
      request.writeInt32BE(value, 4 * index)
    connect(portOf(proxy), '127.0.0.1').end(request)
    expect((await asleep).code).toBe('57014')
    await client.end()
  })

  it('declines TLS and GSSAPI without a certificate, and accepts TLS with one, also direct TLS', async () => {
    const { ca, certificate, privateKey } = await createCertificates(['localhost'])
    const [cert, key] = ['proxy-cert.pem', 'proxy-key.pem'].map((name) =>
      join(databases.folder, name),
    )
    writeFileSync(cert!, certificate)
    writeFileSync(key!, privateKey, { mode: 0o600 })
    const plain = await startProxy([DSQL_URL, '--no-password'])
    const socket = connect(portOf(plain), '127.0.0.1')
    const answers: string[] = []
    for (const code of [80877104, 80877103]) {
      const request = Buffer.alloc(8)
      request.writeInt32BE(8, 0)
      request.writeInt32BE(code, 4)
      socket.write(request)
      answers.push(((await once(socket, 'data')) as [Buffer])[0].toString())
    }
    socket.destroy()
    expect(answers).toEqual(['N', 'N'])
    const proxy = await startProxy([DSQL_URL, '--tls-cert', cert!, '--tls-key', key!])
    expect(proxy.url).toContain('sslmode=require')
    const ssl = { ca, servername: 'localhost' }
    await (await clientOf(proxy, { ssl })).end()
    await (await clientOf(proxy, { ssl, sslnegotiation: 'direct' } as ClientConfig)).end()
    expect((await failure(clientOf(proxy))).code).toBe('28000')
  })

  it('gives the tool a proper error if the server refuses, is down, or ends the session', async () => {
    const refusing = await startProxy([DSQL_URL.replace('app@', 'ghost@')])
    const refused = await failure(clientOf(refusing))
    expect([refused.code, refused.message]).toEqual([
      '28000',
      'unable to accept connection, access denied',
    ])
    const free = createServer().listen(0, '127.0.0.1')
    await once(free, 'listening')
    const { port } = free.address() as AddressInfo
    free.close()
    await once(free, 'close')
    const dead = await startProxy([RDS_URL, '--connect-to', `127.0.0.1:${port}`])
    const lost = await failure(clientOf(dead))
    expect([lost.code, lost.message]).toEqual([
      '08006',
      expect.stringMatching(/could not reach .*ECONNREFUSED/),
    ])
    const proxy = await startProxy([DSQL_URL])
    const client = await clientOf(proxy)
    const { processId } = databases.gateway.faults.sessions().at(-1)!
    const ended = endOf(client)
    const errors: unknown[] = []
    client.on('error', (error) => errors.push(error))
    databases.gateway.faults.killSession(processId)
    await ended
    expect(errors[0]).toMatchObject({ code: '57P01' })
  })

  it('gives the tool a proper error if there are no credentials', async () => {
    const proxy = await startProxy([DSQL_URL], { AWS_ACCESS_KEY_ID: '' })
    const error = await failure(clientOf(proxy))
    expect([error.code, error.message]).toEqual([
      '28000',
      expect.stringMatching(/^could not get AWS credentials/),
    ])
  })

  it('ends with the right code if --check cannot log in', async () => {
    const check = (url: string, ...args: string[]) =>
      runCommand(['proxy', '--port', '0', '--check', url, ...args], {
        env:
          args[0] === '--profile'
            ? { PGSSLROOTCERT: databases.env['PGSSLROOTCERT'] }
            : databases.env,
      })
    const results = await Promise.all([
      check(DSQL_URL.replace('app@', 'ghost@')),
      check(DSQL_URL, '--ca', '/nowhere.pem'),
      check(DSQL_URL, '--connect-to', '127.0.0.1:1'),
      check(DSQL_URL, '--profile', 'nobody'),
    ])
    expect(results.map(({ code }) => code)).toEqual([5, 2, 4, 3])
    for (const { stderr, stdout } of results) {
      expect(stderr).toMatch(/^pg-iam: error: [^\n]+\n$/)
      expect(stdout).toBe('')
    }
  })

  it('ends on Ctrl-C while --check waits for a server that does not answer', async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const running = startCommand(
      ['proxy', '--port', '0', '--check', DSQL_URL, '--connect-to', `127.0.0.1:${port}`],
      { env: databases.env },
    )
    const [socket] = (await once(silent, 'connection')) as [Socket]
    running.child.kill('SIGINT')
    expect(await running.ended).toEqual({ code: 130, stdout: '', stderr: '' })
    socket.destroy()
    silent.close()
  })

  it('ends with 1 if its port is in use', async () => {
    const proxy = await startProxy([DSQL_URL])
    const { code, stderr } = await runCommand(['proxy', '--port', `${portOf(proxy)}`, DSQL_URL], {
      env: databases.env,
    })
    expect(code).toBe(1)
    expect(stderr).toMatch(/could not listen on 127\.0\.0\.1, port \d+.*EADDRINUSE.*--port/)
  })

  it('serves health and metrics with --http, and is not ready while it stops', async () => {
    const proxy = await startProxy([`orders=${DSQL_URL}`, '--http', '0', '--drain', '60'])
    const [, base = ''] = await proxy.printed(/metrics and health: (\S+)/, 'stderr')
    const get = async (path: string): Promise<[number, string]> => {
      const response = await fetch(`${base}${path}`)
      return [response.status, await response.text()]
    }
    const client = await clientOf(proxy)
    await failure(clientOf({ ...proxy, password: 'wrong' }))
    expect(await get('/healthz')).toEqual([200, 'ok\n'])
    expect(await get('/readyz')).toEqual([200, 'ok\n'])
    expect((await get('/nothing'))[0]).toBe(404)
    const [, metrics] = await get('/metrics')
    expect(metrics).toContain('pg_iam_connections_open{target="orders"} 1')
    expect(metrics).toContain('pg_iam_connections_opened_total{target="orders"} 1')
    expect(metrics).toContain('pg_iam_connections_refused_total{target="",reason="28P01"} 1')
    expect(metrics).toContain('pg_iam_tokens_total{target="orders"} 1')
    await client.query('BEGIN')
    proxy.child.kill('SIGTERM')
    await proxy.printed(/stopping/, 'stderr')
    expect((await get('/readyz'))[0]).toBe(503)
    await client.end()
    expect((await proxy.ended).code).toBe(0)
  })

  it('completes open transactions before it ends, and ends idle connections with an error', async () => {
    const proxy = await startProxy([DSQL_URL, '--drain', '60'])
    const [busy, idle] = await Promise.all([clientOf(proxy), clientOf(proxy)])
    await busy.query('BEGIN')
    const errors: unknown[] = []
    idle.on('error', (error) => errors.push(error))
    const idleEnded = endOf(idle)
    proxy.child.kill('SIGINT')
    await idleEnded
    expect(errors[0]).toMatchObject({ code: '57P01' })
    expect((await busy.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    const busyEnded = endOf(busy)
    await busy.query('COMMIT')
    await busyEnded
    expect((await proxy.ended).code).toBe(130)
  })

  it('ends at once on a second signal', async () => {
    const proxy = await startProxy([DSQL_URL, '--drain', '600'])
    const client = await clientOf(proxy)
    await client.query('BEGIN')
    proxy.child.kill('SIGTERM')
    await proxy.printed(/stopping/, 'stderr')
    proxy.child.kill('SIGTERM')
    expect((await proxy.ended).code).toBe(0)
  })

  it('ends connections that are idle for longer than --idle-timeout, and no others', async () => {
    const proxy = await startProxy([DSQL_URL, '--idle-timeout', '0.3'])
    const [idle, open, busy] = await Promise.all([
      clientOf(proxy),
      clientOf(proxy),
      clientOf(proxy),
    ])
    const errors: unknown[] = []
    idle.on('error', (error) => errors.push(error))
    const ended = endOf(idle)
    await open.query('BEGIN')
    const slow = busy.query('SELECT pg_sleep(1), 5 AS five')
    await ended
    expect(errors[0]).toMatchObject({ code: '57P05' })
    expect((await slow).rows).toMatchObject([{ five: 5 }])
    expect((await open.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    await open.end()
  })

  it('refuses connections beyond --max-connections', async () => {
    const proxy = await startProxy([DSQL_URL, '--max-connections', '1'])
    const first = await clientOf(proxy)
    expect((await failure(clientOf(proxy))).code).toBe('53300')
    await first.end()
  })

  it('survives what is no PostgreSQL client', async () => {
    const proxy = await startProxy([DSQL_URL])
    const say = async (bytes: Buffer | string): Promise<void> => {
      const socket: Socket = connect(portOf(proxy), '127.0.0.1')
      socket.on('error', () => {}).resume()
      socket.write(bytes)
      await once(socket, 'close')
    }
    await say('GET / HTTP/1.1\r\n\r\n')
    await say(Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0]))
    await say(Buffer.from([0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]))
    await (await clientOf(proxy)).end()
  })

  it('prints its addresses as JSON with --json', async () => {
    const file = join(databases.folder, 'json-password')
    writeFileSync(file, 'secret', { mode: 0o600 })
    const running = startCommand(
      ['proxy', '--json', '--port', '0', '--password-file', file, DSQL_URL],
      { env: databases.env },
    )
    proxies.push(running)
    const [line] = await running.printed(/^.*\n/)
    expect(JSON.parse(line)).toMatchObject({
      event: 'listening',
      target: null,
      provider: 'aurora-dsql',
      host: '127.0.0.1',
      port: expect.any(Number) as number,
    })
    expect(line).not.toContain(readFileSync(file, 'utf8'))
  })
})
