/**
 * A page that queries Aurora DSQL from the browser: `npm run example browser`.
 *
 * The gateway serves the page, too, so that the page and its WebSockets have one origin. The application's part is small: it knows who is
 * signed in, and hands out credentials that may log in as that user's role for 15 minutes.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { type Gateway, startGateway } from 'pg-iam/gateway'
import { createPool } from 'pg-iam/pg'
import sirv from 'sirv'

/** `npm run build:pages` builds it. Vite needs no polyfills for pg-iam. */
const PAGE = join(process.cwd(), 'build/examples/browser/page')

/** A real application verifies who signs in. */
const USERS: ReadonlySet<string> = new Set(['alice', 'bob'])

export interface BrowserExample {
  readonly port: number
  readonly gateway: Gateway
  close(): Promise<void>
}

/** @param credentialSecs the lifetime of the credentials, which is that of the tokens, too, if it is shorter than 15 minutes */
export async function start({ port = 0, credentialSecs = 900 } = {}): Promise<BrowserExample> {
  const files = sirv(PAGE, { etag: true, setHeaders: setSecurityHeaders })
  const sessions = new Map<string, string>()
  let gateway: Gateway | undefined

  const routes: Record<string, (user: string | undefined, body: unknown) => Answer> = {
    'POST /sign-in'(_user, body) {
      const { user } = Object(body) as { user?: unknown }
      if (typeof user !== 'string' || !USERS.has(user)) return { status: 401 }
      const session = randomBytes(32).toString('base64url')
      sessions.set(session, user)
      return { body: sessionOf(user), cookie: `${session}; Max-Age=28800` }
    },
    'GET /session': (user) => (user === undefined ? { status: 401 } : { body: sessionOf(user) }),
    'POST /credentials'(user) {
      if (user === undefined) return { status: 401 }
      const own = { roles: [user], durationSecs: credentialSecs }
      // By name: JSON of the object itself would have no secrets.
      const issued = gateway!.issueCredentials(own)
      const { accessKeyId, secretAccessKey, sessionToken, expiration } = issued
      return { body: { accessKeyId, secretAccessKey, sessionToken, expiration } }
    },
    'POST /sign-out': () => ({ body: {}, cookie: '; Max-Age=0' }),
  }
  const sessionOf = (user: string): object => ({
    user,
    host: gateway!.clusters[0],
    // Not on AWS, where the page connects to the cluster.
    connectTo: { host: 'localhost', port: gateway!.port },
  })
  const onRequest = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const route = routes[`${request.method} ${request.url}`]
    if (route === undefined) {
      files(request, response, () => void response.writeHead(404).end())
      return
    }
    // Another site's form or script must not act as the user.
    const { 'sec-fetch-site': site = 'none' } = request.headers
    if (site !== 'same-origin' && site !== 'none') {
      response.writeHead(403).end()
      return
    }
    const [, session] = /(?:^|; )__Host-session=([^;]+)/.exec(request.headers.cookie ?? '') ?? []
    const body = request.method === 'POST' ? await json(request) : undefined
    const answer = route(sessions.get(session ?? ''), body)
    if (request.url === '/sign-out' && session !== undefined) sessions.delete(session)
    response.writeHead(answer.status ?? 200, {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      ...(answer.cookie !== undefined && {
        'set-cookie': `__Host-session=${answer.cookie}; Path=/; Secure; HttpOnly; SameSite=Strict`,
      }),
    })
    response.end(JSON.stringify(answer.body ?? {}))
  }
  gateway = await startGateway({
    port,
    roles: ['admin', ...USERS],
    webSocket: {
      onRequest: (request, response) =>
        void onRequest(request, response).catch(() => response.destroy()),
    },
  })
  await prepare(gateway)
  const own = gateway
  return { port: gateway.port, gateway, close: () => own.close() }
}

interface Answer {
  readonly status?: number
  readonly body?: object
  readonly cookie?: string
}

function setSecurityHeaders(response: ServerResponse): void {
  response.setHeader(
    'content-security-policy',
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' wss://localhost:*; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  )
  response.setHeader('referrer-policy', 'no-referrer')
  response.setHeader('x-content-type-options', 'nosniff')
}

async function prepare(gateway: Gateway): Promise<void> {
  const pool = createPool(gateway.login({ user: 'admin' }), { max: 1 })
  await pool.query(`CREATE TABLE visit (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), pet text NOT NULL,
    reason text NOT NULL, fee integer NOT NULL, added_by text NOT NULL DEFAULT current_user,
    added_at timestamptz NOT NULL DEFAULT now())`)
  await pool.query('GRANT SELECT ON visit TO alice, bob')
  await pool.query('GRANT INSERT, UPDATE ON visit TO alice')
  await pool.query(`INSERT INTO visit (pet, reason, fee) VALUES
    ('Leo', 'vaccination', 40), ('Basil', 'tooth', 120), ('Rosy', 'check-up', 35)`)
  await pool.end()
}
