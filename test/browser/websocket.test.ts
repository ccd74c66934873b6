/** `createWebSocketSql` in Chromium, against a gateway. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import sirv from 'sirv'
import { createCertificates, type GatewayCertificates } from '../../gateway/certificates.js'
import { type Gateway, startGateway } from '../../gateway/index.js'
import { eventually } from '../support/eventually.js'
import { launchChromium } from './chromium.js'

const HOST = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
const PRINCIPAL = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'secret-of-the-test' }

let certificates: GatewayCertificates
let gateway: Gateway
/** Of another port, so of another origin. */
let other: Gateway
let browser: Browser
let context: BrowserContext
let page: Page
let built: string
const logged: string[] = []
const dataDirectory = mkdtempSync(join(tmpdir(), 'pg-iam-browser-'))

function serve(port: number): Promise<Gateway> {
  const files = sirv(built)
  const warn = (message: string): void => void logged.push(message)
  return startGateway({
    port,
    clusters: [HOST],
    engine: 'postgres',
    // A busy machine takes long to send 100 MB.
    loginTimeoutMs: 300_000,
    principals: [{ ...PRINCIPAL, roles: ['app', 'admin'] }],
    tls: { key: certificates.privateKey, cert: certificates.certificate },
    logger: { debug() {}, info() {}, warn, error: warn },
    webSocket: {
      maxMessageBytes: 32 * 1024 * 1024,
      onRequest: (request, response) => {
        if (request.url === '/?csp')
          response.setHeader('content-security-policy', "default-src 'self'; connect-src 'none'")
        files(request, response, () => void response.writeHead(404).end())
      },
    },
  })
}

beforeAll(async () => {
  built = join(dataDirectory, 'page')
  const command = ['node_modules/vite/bin/vite.js', 'build', 'test/browser/lab']
  const options = ['--outDir', built, '--emptyOutDir', '--target', 'es2023', '--logLevel', 'warn']
  // Jest cannot load Vite, which is ESM only.
  await promisify(execFile)(process.execPath, [...command, ...options])
  certificates = await createCertificates(['localhost'])
  gateway = await serve(0)
  other = await serve(0)
  browser = await launchChromium([certificates.ca])
})
afterAll(async () => {
  await browser?.close()
  await gateway?.close()
  await other?.close()
  rmSync(dataDirectory, { recursive: true, force: true })
})
beforeEach(async () => {
  context = await browser.newContext()
  page = await openPage(gateway)
})
afterEach(() => context.close())

async function openPage({ port }: Gateway, path = '/'): Promise<Page> {
  const opened = await context.newPage()
  await opened.goto(`https://localhost:${port}${path}`)
  await opened.waitForFunction('globalThis.createWebSocketSql !== undefined')
  const connectTo = { host: 'localhost', port: gateway.port }
  await opened.evaluate(
    ([host, to, keys]) => {
      const lab = globalThis as unknown as Lab
      lab.keys = keys
      lab.calls = 0
      lab.until = 0
      lab.login = lab.pgIam.auroraDsql({
        host,
        user: 'admin',
        connectTo: to,
        signer: 'built-in',
        credentials: async () => {
          lab.calls++
          return lab.until === 0 ? keys : { ...keys, expiration: new Date(Date.now() + lab.until) }
        },
      })
      lab.sql = lab.createWebSocketSql(lab.login, { max: 2 })
    },
    [HOST, connectTo, PRINCIPAL] as const,
  )
  return opened
}

/** What the page has. */
interface Lab {
  pgIam: typeof import('../../core/index.js')
  createWebSocketSql: (login: unknown, options?: object) => import('postgres').Sql
  login: import('../../core/index.js').Login
  sql: import('postgres').Sql
  keys: object
  calls: number
  until: number
}
const inPage = <T>(work: (lab: Lab) => Promise<T>, on = page): Promise<T> =>
  on.evaluate(`(${String(work)})(globalThis)`) as Promise<T>

/** The error that the work rejects with, as far as it can leave the page. */
const failure = (
  work: (lab: Lab) => Promise<unknown>,
  on = page,
): Promise<Record<string, unknown>> =>
  on.evaluate(
    `(${String(work)})(globalThis).then(() => ({ message: 'no error' }), ({ message, code, hint, cause }) => ({ message, code, hint, cause: cause?.message }))`,
  )

describe('Postgres.js over WebSocket in Chromium', () => {
  it('runs queries, a transaction, a cursor and COPY, with a token for each connection', async () => {
    const result = await inPage(async ({ sql, login }) => {
      await sql`CREATE TABLE IF NOT EXISTS pet (id int PRIMARY KEY, name text)`
      await sql`DELETE FROM pet`
      await sql.begin(async (transaction) => {
        await transaction`INSERT INTO pet VALUES (1, ${'Leo'}), (2, ${'Basil'})`
      })
      let parts = 0
      for await (const rows of sql`SELECT generate_series(1, 100) AS n`.cursor(10))
        parts += rows.length
      const pets = await sql`SELECT * FROM pet ORDER BY id`
      return { parts, pets: [...pets], user: login.user, ...login.stats() }
    })
    expect(result).toMatchObject({
      parts: 100,
      pets: [
        { id: 1, name: 'Leo' },
        { id: 2, name: 'Basil' },
      ],
      user: 'admin',
    })
    expect(result).toMatchObject({
      tokensMade: (result as { connectionsOpened: number }).connectionsOpened,
    })
  })

  it("signs the same token as AWS's signer, which the bundle has, too", async () => {
    const keys = JSON.stringify(PRINCIPAL)
    const [own, aws] = (await page.evaluate(`(async () => {
      const options = { host: '${HOST}', user: 'admin', credentials: ${keys} }
      const [own, aws] = ['built-in', 'aws-sdk'].map((signer) => pgIam.auroraDsql({ ...options, signer }))
      for (;;) {
        const tokens = await Promise.all([own.password(), aws.password()])
        const dates = tokens.map((token) => /X-Amz-Date=([^&]+)/.exec(token)[1])
        if (dates[0] === dates[1]) return tokens
      }
    })()`)) as [string, string]
    expect(own).toBe(aws)
  })

  it('retries a transaction after a conflict', async () => {
    const retries = await inPage(async ({ createWebSocketSql, login }) => {
      let count = 0
      const sql = createWebSocketSql(login, { max: 2, retryBegin: { onRetry: () => count++ } })
      await sql`CREATE TABLE IF NOT EXISTS fee (id int PRIMARY KEY, amount int)`
      await sql`INSERT INTO fee VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET amount = 0`
      let reached = 0
      let open = (): void => {}
      const both = new Promise<void>((resolve) => (open = resolve))
      const raise = () =>
        sql.begin(async (transaction) => {
          await transaction`UPDATE fee SET amount = amount + 1 WHERE id = 1`
          if (++reached >= 2) open()
          await both
        })
      await Promise.all([raise(), raise()])
      const [row] = await sql`SELECT amount FROM fee`
      await sql.end()
      return { count, amount: row!['amount'] as number }
    })
    expect(retries).toEqual({ count: 1, amount: 2 })
  })

  it('gets new credentials when a connection is opened after the old ones ended', async () => {
    await inPage(async (lab) => {
      lab.until = 500
      await lab.sql`SELECT 1`
    })
    await page.waitForTimeout(600)
    for (const { processId } of gateway.faults.sessions()) gateway.faults.killSession(processId)
    await eventually('a query', () =>
      inPage(async ({ sql }) =>
        sql`SELECT 1`.then(
          () => true,
          () => false,
        ),
      ),
    )
    expect(await inPage(async ({ calls }) => calls)).toBeGreaterThan(1)
  })

  it('fails with ended credentials, or with those that the server does not give, and works with others', async () => {
    const codes = await inPage(async (lab) => {
      const { pgIam, createWebSocketSql, login } = lab
      const { host, connectTo } = login
      let given: unknown = () => ({ ...lab.keys, expiration: new Date(0) })
      const own = pgIam.auroraDsql({
        host,
        user: 'admin',
        connectTo: connectTo!,
        signer: 'built-in',
        credentials: () => (given as () => never)(),
        tokenTimeoutMs: 500,
      })
      const sql = createWebSocketSql(own, { max: 1 })
      const code = (): Promise<unknown> =>
        sql`SELECT 1 AS one`.then(
          ([row]) => row!['one'] as unknown,
          (error: { code: unknown }) => error.code,
        )
      const told = [await code()]
      given = () => Promise.reject(new Error('401'))
      told.push(await code())
      given = () => new Promise(() => {})
      told.push(await code())
      given = () => lab.keys
      told.push(await code())
      return told
    })
    expect(codes).toEqual([
      'ERR_CREDENTIALS_UNAVAILABLE',
      'ERR_CREDENTIALS_UNAVAILABLE',
      'ERR_TOKEN_TIMEOUT',
      1,
    ])
  })

  it('names what is missing in a runtime without WebSocket', async () => {
    await page.evaluate('delete globalThis.WebSocket')
    expect(await failure(async ({ sql }) => sql`SELECT 1`)).toMatchObject({
      code: 'ERR_PEER_MISSING',
      message: 'this runtime has no WebSocket',
    })
  })

  it('works again after the server was away', async () => {
    const { port } = gateway
    await inPage(async ({ sql }) => void (await sql`SELECT 1`))
    await gateway.close()
    const refused = await failure(async ({ sql }) => sql`SELECT 1`)
    gateway = await serve(port)
    expect(refused['message']).toMatch(/WebSocket to localhost:\d+ did not open|closed/i)
    await eventually('a query', () =>
      inPage(async ({ sql }) =>
        sql`SELECT 1`.then(
          () => true,
          () => false,
        ),
      ),
    )
  })

  it('serves two tabs side by side', async () => {
    const second = await openPage(gateway)
    const sessions = (): number => gateway.faults.sessions().length
    // Those of the test before may still be ending.
    await eventually('no session', () => sessions() === 0)
    const ask = async ({ sql }: Lab) => (await sql`SELECT 1 AS one`)[0]!['one'] as number
    expect(await Promise.all([inPage(ask), inPage(ask, second)])).toEqual([1, 1])
    expect(sessions()).toBe(2)
  })

  it('is refused for a page of another origin, with a hint that says what to check', async () => {
    const foreign = await openPage(other)
    const error = await failure(async ({ sql }) => sql`SELECT 1`, foreign)
    expect(error['hint']).toMatch(/accepts the page's origin/)
    expect(logged).toContain('gateway: refused a WebSocket of another origin')
  })

  it("fails at once if the page's content security policy forbids the connection", async () => {
    const strict = await openPage(gateway, '/?csp')
    const error = await failure(async ({ sql }) => sql`SELECT 1`, strict)
    expect(error['hint']).toMatch(/connect-src/)
  })

  it('is refused with a forged token, as over TCP', async () => {
    const error = await failure(
      async ({ createWebSocketSql, pgIam, login: { host, connectTo } }) => {
        const login = pgIam.customLogin({
          host,
          connectTo: connectTo!,
          user: 'admin',
          getToken: () => 'forged',
        })
        await createWebSocketSql(login, { max: 1 })`SELECT 1`
      },
    )
    expect(error['message']).toMatch(/access denied/)
  })

  it('fails at once when the browser is offline, and works when it is online again', async () => {
    await inPage(async ({ sql }) => void (await sql`SELECT 1`))
    const pending = failure(async ({ sql }) => sql`SELECT pg_sleep(600)`)
    await eventually('the query', async () => gateway.faults.sessions().length > 0)
    await context.setOffline(true)
    expect(await pending).toMatchObject({ message: expect.stringMatching(/offline|CONNECTION/) })
    await context.setOffline(false)
    await eventually('a query', () =>
      inPage(async ({ sql }) =>
        sql`SELECT 1`.then(
          () => true,
          () => false,
        ),
      ),
    )
  })

  it('is ended by the gateway for a message of 100 MB, and the next connection works', async () => {
    const code = await page.evaluate(`new Promise((resolve) => {
      const socket = new WebSocket('wss://localhost:${gateway.port}')
      socket.onopen = () => socket.send(new Uint8Array(100_000_000))
      socket.onclose = ({ code }) => resolve(code)
    })`)
    expect(code).toBe(1009)
    await inPage(async ({ sql }) => void (await sql`SELECT 1`))
  })

  it('fails with ERR_PROTOCOL if 16 MiB are not read, which a browser cannot hold back', async () => {
    const error = await failure(async ({ sql }) => {
      const stream =
        await sql`COPY (SELECT repeat('x', 1000) FROM generate_series(1, 50000)) TO STDOUT`.readable()
      await new Promise((_resolve, reject) => stream.once('error', reject))
    })
    expect(error).toMatchObject({ code: 'ERR_PROTOCOL' })
  })

  it.each([
    [
      'no credentials',
      "pgIam.auroraDsql({ host: 'x', user: 'app' })",
      /"credentials" must be given in a browser/,
    ],
    [
      'an address that is not loopback',
      `createWebSocketSql(pgIam.auroraDsql({ host: '${HOST}', user: 'app', credentials: ${JSON.stringify(PRINCIPAL)}, connectTo: { host: 'db.example.com', port: 443 } }))`,
      /must be "host" or a loopback address in a browser/,
    ],
    ['a URL', "createWebSocketSql('postgres://localhost')", /"login" must be a login/],
  ])('refuses %s', async (_name, code, message) => {
    const told = await page.evaluate(
      `(() => { try { ${code}; return 'none' } catch (error) { return error.message } })()`,
    )
    expect(told).toMatch(message)
  })

  it('shows no token in what a page can print of it', async () => {
    const text = await inPage(async ({ sql, login }) => {
      await sql`SELECT 1`
      const token = await login.token()
      return [
        JSON.stringify(login),
        JSON.stringify(token),
        Object.keys(token).join(),
        JSON.stringify(sql.options),
      ].join()
    })
    expect(text).not.toMatch(/X-Amz-Signature|secret-of-the-test/)
  })
})

it('Chromium sends nothing to a gateway whose certificate it does not trust', async () => {
  const untrusted = await startGateway({
    clusters: [HOST],
    engine: 'postgres',
    webSocket: { origins: [`https://localhost:${gateway.port}`] },
  })
  const error = await failure(
    (async ({ createWebSocketSql, pgIam, login: { host } }: Lab) => {
      const login = pgIam.customLogin({
        host,
        connectTo: { host: 'localhost', port: 12_345 },
        user: 'admin',
        getToken: () => 'token',
      })
      await createWebSocketSql(login, { max: 1 })`SELECT 1`
    })
      .toString()
      .replace('12_345', String(untrusted.port))
      .replace('12345', String(untrusted.port)) as never,
  )
  expect(error['message']).toMatch(/did not open/)
  expect(untrusted.stats().loginsAccepted).toBe(0)
  await untrusted.close()
})
