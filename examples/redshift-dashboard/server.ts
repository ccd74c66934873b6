/**
 * A dashboard on Amazon Redshift in which everybody queries as themselves: `npm run example redshift-dashboard`.
 *
 * The stand-ins on this machine are an OpenID provider, and a gateway for AWS STS, the Redshift API and the cluster. In production the issuer
 * is the company's, and `endpoint`, `apiEndpoint`, `connectTo` and `tls` are not given.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { isPgIamError, redshift, type RedshiftOptions } from 'pg-iam'
import { type Gateway, startGateway } from 'pg-iam/gateway'
import { createPool } from 'pg-iam/pg'
import {
  createSignIn,
  memoryStore,
  type Session,
  type SignInLimits,
  webIdentity,
} from 'pg-iam/sign-in'
import sirv from 'sirv'
import { type RunningIdentityProvider, startIdentityProvider } from './identity-provider.js'

/** `npm run build:pages` builds it. */
const PAGE = join(process.cwd(), 'build/examples/redshift-dashboard/page')
const HOST = 'analytics.abcdefghijkl.eu-west-1.redshift.amazonaws.com'
const CLIENT_ID = 'dashboard'

export interface Dashboard {
  readonly url: string
  readonly gateway: Gateway
  readonly identityProvider: RunningIdentityProvider
  close(): Promise<void>
}

export interface DashboardOptions {
  /** Default: a free port. */
  port?: number
  limits?: SignInLimits
  /** Lifetime of the identity provider's tokens, in seconds. Default 300. */
  tokenSecs?: number
  /** Default: alice and bob. */
  users?: readonly string[]
  /** Further options of the logins. */
  login?: RedshiftOptions
}

export async function start({
  port = 0,
  limits = {},
  tokenSecs = 300,
  users = ['alice', 'bob'],
  login: own = {},
}: DashboardOptions = {}): Promise<Dashboard> {
  const files = sirv(PAGE, { etag: true })
  const server = createServer()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://localhost:${(server.address() as AddressInfo).port}`

  const clientSecret = randomBytes(32).toString('base64url')
  const identityProvider = await startIdentityProvider({
    tokenSecs,
    users,
    clients: [
      {
        client_id: CLIENT_ID,
        client_secret: clientSecret,
        redirect_uris: [`${url}/callback`],
        post_logout_redirect_uris: [`${url}/`],
        backchannel_logout_uri: `${url}/back-channel-logout`,
        backchannel_logout_session_required: true,
        grant_types: ['authorization_code', 'refresh_token'],
      },
    ],
  })
  const { issuer } = identityProvider
  const gateway = await startRedshift(issuer, users)

  const signIn = createSignIn({
    issuer,
    clientId: CLIENT_ID,
    clientSecret,
    redirectUri: `${url}/callback`,
    scopes: ['openid', 'profile'],
    store: memoryStore(),
    // In production they come from a secret store, and survive a restart.
    keys: [randomBytes(32).toString('base64url')],
    credentials: webIdentity({
      roleArn: ({ subject }) => `arn:aws:iam::111122223333:role/${subject}`,
      region: 'eu-west-1',
      endpoint: gateway.awsEndpointUrl!,
    }),
    limits,
    errorPage: ({ code }) => errorPage(code),
  })
  const database: RedshiftOptions = {
    host: HOST,
    database: 'postgres',
    apiEndpoint: gateway.awsEndpointUrl!,
    connectTo: { host: gateway.host, port: gateway.port },
    tls: { ca: gateway.ca },
    ...own,
  }

  const sessionOf = ({
    claims,
    signedInAt,
    expiresAt,
    idleExpiresAt,
    tokensExpireAt,
  }: Session) => ({
    name: claims['name'] ?? claims['sub'],
    signedInAt,
    expiresAt,
    idleExpiresAt,
    tokensExpireAt,
  })
  const withSession =
    (respond: (session: Session, request: Request) => object | Promise<object>) =>
    async (request: Request): Promise<Response> => {
      const session = await signIn.session(request)
      return session === undefined
        ? Response.json({ error: 'ERR_SESSION_ENDED' }, { status: 401 })
        : Response.json(await respond(session, request))
    }
  const routes: Readonly<Record<string, (request: Request) => Promise<Response>>> = {
    'GET /sign-in': signIn.start,
    'GET /callback': signIn.callback,
    'POST /sign-out': (request) => signIn.signOut(request),
    'POST /sign-out-everywhere': (request) => signIn.signOut(request, { everywhere: true }),
    'POST /back-channel-logout': signIn.backChannelLogout,
    'GET /api/session': withSession(sessionOf),
    'GET /api/sales': withSession(async (session, request) => {
      const year = Number(new URL(request.url).searchParams.get('year') ?? 2026)
      const pool = session.pool(session.login(redshift, database), { max: 2 })
      const [months, regions, user] = await Promise.all([
        pool.query(
          `SELECT to_char(day, 'YYYY-MM') AS month, sum(amount)::int AS amount FROM sales
          WHERE extract(year FROM day) = $1 GROUP BY 1 ORDER BY 1`,
          [year],
        ),
        pool.query(
          `SELECT region, count(*)::int AS orders, sum(amount)::int AS amount FROM sales
          WHERE extract(year FROM day) = $1 GROUP BY 1 ORDER BY 3 DESC`,
          [year],
        ),
        pool.query('SELECT current_user AS name'),
      ])
      return {
        session: sessionOf(session),
        databaseUser: user.rows[0].name,
        months: months.rows,
        regions: regions.rows,
      }
    }),
  }

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    for (const [name, value] of Object.entries(securityHeaders(issuer)))
      response.setHeader(name, value)
    const { pathname } = new URL(request.url ?? '/', url)
    const route = routes[`${request.method} ${pathname}`]
    if (route === undefined) {
      files(request, response, () => void response.writeHead(404).end())
      return
    }
    await send(await answer(route, webRequest(request, url)), response)
  }
  server.on('request', (request, response) => {
    serve(request, response).catch(() => {
      if (!response.headersSent) response.writeHead(500)
      response.end()
    })
  })
  return {
    url,
    gateway,
    identityProvider,
    async close() {
      server.close()
      server.closeAllConnections()
      await signIn.close()
      await gateway.close()
      await identityProvider.close()
    },
  }
}

/** Errors of the session become answers that the page understands. What went wrong in the database does not leave the server. */
async function answer(
  route: (request: Request) => Promise<Response>,
  request: Request,
): Promise<Response> {
  try {
    return await route(request)
  } catch (error) {
    const code = isPgIamError(error) ? error.code : 'ERR_QUERY'
    process.stderr.write(`${new URL(request.url).pathname}: ${String(error)}\n`)
    return Response.json({ error: code }, { status: code === 'ERR_SESSION_ENDED' ? 401 : 503 })
  }
}

// The adapter between Node's server and Web requests. Hono, Next.js, Remix and others have one.

function webRequest(request: IncomingMessage, origin: string): Request {
  const { method = 'GET', headers } = request
  const hasBody = method !== 'GET' && method !== 'HEAD'
  return new Request(new URL(request.url ?? '/', origin), {
    method,
    headers: Object.entries(headers).flatMap(([name, value]): [string, string][] =>
      value === undefined ? [] : [[name, [value].flat().join(', ')]],
    ),
    ...(hasBody ? { body: Readable.toWeb(request) as ReadableStream, duplex: 'half' } : {}),
  } as RequestInit)
}

async function send(answered: Response, response: ServerResponse): Promise<void> {
  response.statusCode = answered.status
  for (const [name, value] of answered.headers)
    if (name !== 'set-cookie') response.setHeader(name, value)
  const cookies = answered.headers.getSetCookie()
  if (cookies.length > 0) response.setHeader('set-cookie', cookies)
  response.setHeader('cache-control', 'no-store')
  response.end(Buffer.from(await answered.arrayBuffer()))
}

function securityHeaders(issuer: string): Readonly<Record<string, string>> {
  return {
    // The sign-out is a form that leads on to the identity provider, which Chromium checks, too.
    'content-security-policy': `default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; form-action 'self' ${issuer}; base-uri 'none'; frame-ancestors 'none'`,
    'cross-origin-opener-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  }
}

function errorPage(code: string): Response {
  const texts: Readonly<Record<string, string>> = {
    ERR_SIGN_IN_DENIED: 'The sign-in was denied.',
    ERR_SIGN_IN_EXPIRED: 'The sign-in took too long.',
    ERR_SIGN_IN_UNAVAILABLE: 'The identity provider does not answer. Try again in a minute.',
  }
  const html = `<!doctype html>
<html lang="en">
  <head><meta charset="utf-8" /><meta name="viewport" content="width=device-width, initial-scale=1" /><meta name="color-scheme" content="light dark" />
  <title>Sign-in failed</title><link rel="icon" href="data:," /><link rel="stylesheet" href="/style.css" /></head>
  <body><main><section><h1>You are not signed in</h1><p>${texts[code] ?? 'The sign-in failed.'}</p><p><code>${code}</code></p>
  <p><a class="button" href="/sign-in">Sign in again</a></p></section></main></body>
</html>`
  const statuses: Readonly<Record<string, number>> = {
    ERR_SIGN_IN_DENIED: 403,
    ERR_SIGN_IN_UNAVAILABLE: 503,
    ERR_SIGN_IN_LIMIT: 503,
  }
  const status = statuses[code] ?? 400
  return new Response(html, { status, headers: { 'content-type': 'text/html; charset=utf-8' } })
}

// The stand-in for Redshift, with its data. Each user sees the rows of their own regions.

async function startRedshift(issuer: string, users: readonly string[]): Promise<Gateway> {
  const password = randomBytes(32).toString('base64url')
  const administration = 'administration.example.com'
  const gateway = await startGateway({
    webIdentity: { issuer, audience: CLIENT_ID },
    endpoints: [
      {
        provider: 'redshift',
        hosts: [HOST],
        users: users.map((name) => ({
          roleArn: `arn:aws:iam::111122223333:role/${name}`,
          subject: name,
        })),
      },
      { provider: 'password', hosts: [administration], users: { admin: password } },
    ],
  })
  const login = gateway.login({
    host: administration,
    user: 'admin',
    getToken: async () => ({ value: password, expiresAt: new Date(Date.now() + 600_000) }),
  })
  const pool = createPool(login, { max: 1 })
  await pool.query(`CREATE TABLE sales (day date NOT NULL, region text NOT NULL, amount numeric NOT NULL, reader text NOT NULL);
    INSERT INTO sales
      SELECT date '2026-01-01' + (n * 3) % 330, region, 100 + (n * (7919 + ascii(region))) % 900, reader
      FROM generate_series(1, 400) AS n, (VALUES ('Lisbon', 'IAMR:alice'), ('Madrid', 'IAMR:alice'), ('Oslo', 'IAMR:bob')) AS own (region, reader)
      WHERE n % 3 <> ascii(region) % 3;
    ALTER TABLE sales ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own_rows ON sales USING (reader = current_user);
    GRANT SELECT ON sales TO ${users.map((name) => `"IAMR:${name}"`).join(', ')}`)
  await pool.end()
  return gateway
}
