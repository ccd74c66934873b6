/** Signing in to a web application with OpenID Connect: the handlers, their cookies and their pages. */
import { createHash } from 'node:crypto'
import { isPgIamError, PgIamError, type PgIamErrorCode } from '../core/errors.js'
import { logger, type Logger } from '../core/events.js'
import {
  boolean,
  type Check,
  checkOptions,
  functionOf,
  integerWithin,
  invalidOption,
  isPlainObject,
  isText,
  secretText,
  secureUrl,
  text,
} from '../core/options/check.js'
import type { IdentityCredentials } from './identity-credentials.js'
import {
  type AttemptSecrets,
  createIdentityProvider,
  LOGOUT_TOKEN_SECS,
} from './identity-provider.js'
import { createSealer, sealingKeys } from './sealing.js'
import { createMemoryStore, sessionStore, type SessionStore, watchStore } from './session-store.js'
import { createSessions, type Session } from './sessions.js'
import { createUserPools } from './user-pools.js'

export interface SignInOptions {
  /** The issuer: the URL at which `/.well-known/openid-configuration` is found. https, or http on this machine. */
  issuer: string
  clientId: string
  /** Absent for a public client. */
  clientSecret?: string
  /** The address of `callback`, as it is registered at the provider. Its origin is the one of the application. */
  redirectUri: string
  /** The scopes to request. Default: `openid`, and `offline_access` if the provider lists it, so that it issues refresh tokens. */
  scopes?: readonly string[]
  /** Further parameters of the authorization request, such as `{ prompt: 'consent' }`, by which some providers issue refresh tokens. */
  authorizationParams?: Readonly<Record<string, string>>
  /** Where sessions are stored. Default: `memoryStore()`, with a warning. */
  store?: SessionStore
  /** Secrets of at least 32 characters that encrypt sessions and cookies: the current one first, then those before it. */
  keys: readonly string[]
  /** Makes credentials of a cloud from a user: `webIdentity()`, `onBehalfOf()`, or a function of yours. */
  credentials: IdentityCredentials
  limits?: SignInLimits
  /** Where the browser goes after the sign-out, a path of the application. Default `/`. */
  signedOutPath?: string
  /** Returns the page for an error. Default: a plain page with the code. */
  errorPage?: (error: PgIamError, request: Request) => Response | Promise<Response>
  logger?: Logger
}

export interface SignInLimits {
  /** How long an attempt to sign in may take, in seconds, from 30 to 3,600. Default 600. */
  attemptSecs?: number
  /** How long a session lasts, in seconds, from 60 to 2,592,000 (30 days). Default 43,200 (12 hours). */
  sessionSecs?: number
  /** How long a session lasts if it is not used, in seconds, from 60 to 2,592,000. Default 3,600. */
  idleSecs?: number
  /** The number of pools with connections, over all users, from 1 to 10,000. Default 100. */
  pools?: number
  /** The same for one user, from 1 to 100. Default 4. */
  poolsPerUser?: number
  /** How long a pool keeps its connections when nobody uses it, in seconds, from 1 to 86,400. Default 300. */
  poolIdleSecs?: number
  /** How long a query waits for one of the pools, in milliseconds, from 0 to 600,000. Default 30,000. */
  poolWaitMs?: number
  /** The accepted difference between the clocks of this process and of the provider, in seconds, from 0 to 300. Default 30. */
  clockSkewSecs?: number
  /** The time limit for a request to the provider, in milliseconds, from 100 to 120,000. Default 10,000. */
  requestTimeoutMs?: number
}

export interface SignOutOptions {
  /** Whether all sessions of this user end, also in other browsers. Default `false`. */
  everywhere?: boolean
}

/** Handlers of Web requests. Each returns a response, `session` the session. */
export interface SignIn {
  /**
   * Sends the browser to the provider. After the sign-in it comes back to the path in the query parameter `returnTo`, or to `/`.
   *
   * Each answers GET. Errors are answered with a page, see `errorPage`: 503 with `ERR_SIGN_IN_UNAVAILABLE`.
   */
  start(request: Request): Promise<Response>
  /**
   * Takes the browser back from the provider, begins the session, and sends the browser on.
   *
   * Pages: 400 with `ERR_SIGN_IN_STATE` (another browser's callback, a forged or a used one), `ERR_SIGN_IN_EXPIRED` or
   * `ERR_SIGN_IN_INVALID`; 403 with `ERR_SIGN_IN_DENIED`; 503 with `ERR_SIGN_IN_UNAVAILABLE` or `ERR_SIGN_IN_LIMIT`.
   */
  callback(request: Request): Promise<Response>
  /** Resolves with the session of the browser, or with `undefined` if it has none, or it has ended. */
  session(request: Request): Promise<Session | undefined>
  /** Ends the session, revokes its tokens, and sends the browser to the provider's sign-out. Takes a POST of the application's own pages. */
  signOut(request: Request, options?: SignOutOptions): Promise<Response>
  /** Takes the provider's request that sessions of a user have ended: the address for `backchannel_logout_uri`. */
  backChannelLogout(request: Request): Promise<Response>
  /** Closes all pools. */
  close(): Promise<void>
}

/**
 * Returns the handlers with which a web application lets users sign in, and query a database as themselves.
 *
 * The authorization-code flow with PKCE (RFC 6749, RFC 7636, RFC 9700, RFC 9207), with sessions on the server. The browser has only a
 * random cookie. Errors of the store are
 * `ERR_SIGN_IN_STORE`: pages with 503, with which `session` rejects. Needs `openid-client` and `jose`.
 *
 * Exported from `'pg-iam/sign-in'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT` for invalid options
 */
export function createSignIn(options: SignInOptions): SignIn {
  return createSignInAt(options, Date.now)
}

/** The same with the clock as a parameter. */
export function createSignInAt(options: SignInOptions, now: () => number): SignIn {
  const given = checkSignInOptions(options)
  const { issuer, redirectUri, limits } = given
  const sealer = createSealer(given.keys)
  const provider = createIdentityProvider({
    issuer,
    clientId: given.clientId,
    clientSecret: given.clientSecret,
    scopes: given.scopes,
    authorizationParams: given.authorizationParams ?? {},
    clockSkewSecs: limits.clockSkewSecs,
    requestTimeoutMs: limits.requestTimeoutMs,
    now,
  })
  const sessions = createSessions({
    issuer,
    application: JSON.stringify([issuer, given.clientId, redirectUri]),
    provider,
    store: watchStore(given.store ?? defaultStore(now)),
    sealer,
    credentials: given.credentials,
    limits,
    pools: createUserPools(limits, now),
    logger: given.logger,
    now,
  })
  const origin = new URL(redirectUri).origin

  /** Runs a handler. Its errors become pages and entries of the log. */
  const answer = async (
    request: Request,
    methods: readonly string[],
    handle: () => Promise<Response>,
  ): Promise<Response> => {
    requireWebRequest(request)
    let response: Response
    try {
      if (!methods.includes(request.method)) {
        response = new Response(null, { status: 405, headers: { allow: methods.join(', ') } })
      } else {
        response = await handle()
      }
    } catch (error) {
      if (!isPgIamError(error)) throw error
      given.logger?.warn(`pg-iam: ${error.message}`, { code: error.code })
      // A copy: the headers of Response.redirect() cannot be changed.
      const page = await (given.errorPage ?? plainPage)(error, request)
      response = new Response(page.body, page)
    }
    for (const [name, value] of Object.entries(PRIVATE)) response.headers.set(name, value)
    return response
  }

  /** The states whose codes are being exchanged by this process. */
  const exchanging = new Set<string>()

  const openAttempt = async (request: Request, name: string): Promise<Attempt> => {
    const sealed = cookiesOf(request).get(name)
    const attempt =
      sealed === undefined ? undefined : ((await sealer.open(name, sealed)) as Attempt | undefined)
    if (attempt === undefined) {
      throw new PgIamError('ERR_SIGN_IN_STATE', 'this browser has not begun this sign-in', {
        hint: 'Sign in again.',
      })
    }
    return attempt
  }

  return {
    start: (request) =>
      answer(request, ['GET'], async () => {
        const returnTo = pathOf(new URL(request.url).searchParams.get('returnTo'), origin)
        const secrets = await provider.newAttempt()
        const url = await provider.authorizationUrl(redirectUri, secrets)
        const name = attemptCookie(secrets.state)
        const attempt: Attempt = { secrets, returnTo, at: now() }
        // Several tabs may sign in at once. Browsers send all cookies with each request, so there are not too many.
        const old = [...cookiesOf(request).keys()].filter((each) => each.startsWith(ATTEMPT))
        return redirect(url, [
          ...old.slice(0, Math.max(0, old.length - ATTEMPTS_KEPT + 1)).map(expiredCookie),
          cookie(name, await sealer.seal(name, attempt), limits.attemptSecs),
        ])
      }),

    async callback(request) {
      requireWebRequest(request)
      const { search, searchParams } = new URL(request.url)
      const states = searchParams.getAll('state')
      const name = attemptCookie(states[0] ?? '')
      return answer(request, ['GET'], async () => {
        if (states.length !== 1) {
          throw new PgIamError('ERR_SIGN_IN_STATE', 'the callback has no "state", or several', {
            hint: 'Sign in again.',
          })
        }
        const { secrets, returnTo, at } = await openAttempt(request, name)
        if (now() - at > limits.attemptSecs * 1_000) {
          throw new PgIamError(
            'ERR_SIGN_IN_EXPIRED',
            `the sign-in took longer than ${limits.attemptSecs} seconds`,
            { hint: 'Sign in again.' },
          )
        }
        if (exchanging.has(secrets.state)) throw usedBefore()
        // The registered address: behind a proxy, the one of the request has another scheme or host.
        const callback = new URL(redirectUri)
        callback.search = search
        // A provider that gets a code twice ends what it issued for it (RFC 6749, section 4.1.2).
        exchanging.add(secrets.state)
        try {
          if (await sessions.wasUsed(secrets.state)) throw usedBefore()
          const tokens = await provider.exchangeCode(callback, secrets)
          // Only now: visitors without an account must not be able to fill the store.
          await sessions.markUsed(secrets.state, limits.attemptSecs)
          const value = await sessions.create(tokens)
          const before = cookiesOf(request).get(SESSION)
          if (before !== undefined) await sessions.end(before)
          return redirect(returnTo, [
            cookie(SESSION, value, limits.sessionSecs),
            expiredCookie(name),
          ])
        } finally {
          exchanging.delete(secrets.state)
        }
      }).then((response) => {
        // One attempt has one callback, also if it failed.
        const isExpired = response.headers.getSetCookie().some((each) => each.startsWith(name))
        if (!isExpired && cookiesOf(request).has(name))
          response.headers.append('set-cookie', expiredCookie(name))
        return response
      })
    },

    async session(request) {
      requireWebRequest(request)
      const value = cookiesOf(request).get(SESSION)
      return value === undefined ? undefined : sessions.load(value)
    },

    signOut: async (request, signOutOptions = {}) => {
      const response = await answer(request, ['POST'], async () => {
        const { everywhere = false } = checkOptions(signOutOptions, {
          everywhere: boolean,
        })
        refuseForeignPages(request, origin)
        const home = new URL(given.signedOutPath ?? '/', origin).href
        const value = cookiesOf(request).get(SESSION)
        const tokens = value === undefined ? undefined : await sessions.end(value)
        if (tokens === undefined) return redirect(home, [expiredCookie(SESSION)])
        if (everywhere)
          await sessions.endAll({ subject: tokens.subject, sid: undefined, until: now() })
        // The session is over whether or not the provider can be reached.
        const warn = (error: unknown): undefined => {
          const { message, code } = error as PgIamError
          given.logger?.warn(`pg-iam: ${message}`, { code })
          return undefined
        }
        await provider.revoke(tokens).catch(warn)
        const url = await provider.endSessionUrl(tokens, home).catch(warn)
        return redirect(url ?? home, [expiredCookie(SESSION)])
      })
      // Also if the store fails: without its cookie, this browser has no session.
      if (response.status >= 500) response.headers.append('set-cookie', expiredCookie(SESSION))
      return response
    },

    backChannelLogout: (request) =>
      answerProvider(request, given.logger, async () => {
        const token = await logoutTokenOf(request)
        const notice = await provider.verifyLogoutToken(token)
        const use = `logout ${notice.jti}`
        if (await sessions.wasUsed(use))
          throw new PgIamError('ERR_SIGN_IN_INVALID', 'the logout token was used before')
        await sessions.endAll(notice)
        // Not before: the provider repeats what has failed.
        await sessions.markUsed(use, LOGOUT_TOKEN_SECS)
      }),

    close: () => sessions.close(),
  }
}

function usedBefore(): PgIamError {
  return new PgIamError('ERR_SIGN_IN_STATE', 'this callback was used before', {
    hint: 'Sign in again.',
  })
}

/** One attempt to sign in, encrypted in a cookie of the browser that began it. */
interface Attempt {
  readonly secrets: AttemptSecrets
  readonly returnTo: string
  /** When it began, in epoch milliseconds. */
  readonly at: number
}

// Options.

type CheckedSignInOptions = Omit<SignInOptions, 'limits'> & {
  readonly limits: Required<SignInLimits>
}

function checkSignInOptions(options: SignInOptions): CheckedSignInOptions {
  const given = checkOptions(options, CHECKS)
  for (const name of ['issuer', 'clientId', 'redirectUri', 'keys', 'credentials'] as const) {
    if (given[name] === undefined) throw invalidOption(name, REQUIRED[name], undefined)
  }
  const limits = { ...DEFAULT_LIMITS, ...given.limits }
  if (limits.idleSecs > limits.sessionSecs) {
    if (given.limits?.idleSecs !== undefined) {
      throw new PgIamError(
        'ERR_OPTION_CONFLICT',
        `"limits.idleSecs" must not exceed "limits.sessionSecs", which is ${limits.sessionSecs}`,
      )
    }
    limits.idleSecs = limits.sessionSecs
  }
  return { ...(given as SignInOptions), limits }
}

const REQUIRED = {
  issuer: 'the URL of the OpenID provider',
  clientId: 'the client ID that the provider has issued',
  redirectUri: 'the address of the callback',
  keys: 'an array of at least one key',
  credentials: 'a function such as webIdentity() returns',
} as const

const DEFAULT_LIMITS: Required<SignInLimits> = {
  attemptSecs: 600,
  sessionSecs: 43_200,
  idleSecs: 3_600,
  pools: 100,
  poolsPerUser: 4,
  poolIdleSecs: 300,
  poolWaitMs: 30_000,
  clockSkewSecs: 30,
  requestTimeoutMs: 10_000,
}

const LIMIT_CHECKS = {
  attemptSecs: integerWithin(30, 3_600, 'seconds'),
  sessionSecs: integerWithin(60, 2_592_000, 'seconds'),
  idleSecs: integerWithin(60, 2_592_000, 'seconds'),
  pools: integerWithin(1, 10_000),
  poolsPerUser: integerWithin(1, 100),
  poolIdleSecs: integerWithin(1, 86_400, 'seconds'),
  poolWaitMs: integerWithin(0, 600_000, 'milliseconds'),
  clockSkewSecs: integerWithin(0, 300, 'seconds'),
  requestTimeoutMs: integerWithin(100, 120_000, 'milliseconds'),
} as const

const redirectUriOption: Check<string> = (value, name) => {
  const url = secureUrl(value, name)
  // openid-client (6.9) sends it without its query.
  if (new URL(url).search !== '') throw invalidOption(name, 'a URL without a query', value)
  return url
}

const scopeList: Check<readonly string[]> = (value, name) => {
  const isScope = (each: unknown): each is string =>
    typeof each === 'string' && /^[!#-[\]-~]+$/.test(each)
  if (!Array.isArray(value) || !value.every(isScope))
    throw invalidOption(name, 'an array of scopes', value)
  if (!value.includes('openid')) throw invalidOption(name, 'an array that has "openid"', value)
  return value
}

const parameters: Check<Readonly<Record<string, string>>> = (value, name) => {
  if (!isPlainObject(value) || !Object.values(value).every(isText))
    throw invalidOption(name, 'an object of texts', value)
  const reserved = Object.keys(value).find((key) => RESERVED_PARAMETERS.has(key))
  if (reserved !== undefined) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${name}.${reserved}" must not be given: the sign-in sets it`,
    )
  }
  return value as Record<string, string>
}

const RESERVED_PARAMETERS = new Set([
  'client_id',
  'response_type',
  'response_mode',
  'redirect_uri',
  'scope',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
  'request',
  'request_uri',
])

const localPath: Check<string> = (value, name) => {
  if (typeof value === 'string' && pathOf(value, 'https://application.invalid') === value)
    return value
  throw invalidOption(name, 'a path that begins with "/"', value)
}

const CHECKS = {
  issuer: secureUrl,
  clientId: text,
  clientSecret: secretText,
  redirectUri: redirectUriOption,
  scopes: scopeList,
  authorizationParams: parameters,
  store: sessionStore,
  keys: sealingKeys,
  credentials: functionOf<IdentityCredentials>(),
  limits: ((value, name) => checkOptions(value, LIMIT_CHECKS, `${name}.`)) as Check<SignInLimits>,
  signedOutPath: localPath,
  errorPage: functionOf<NonNullable<SignInOptions['errorPage']>>(),
  logger,
} as const

function defaultStore(now: () => number): SessionStore {
  process.emitWarning(
    'sessions are stored in the memory of this process: they end with it, and other processes do not have them. Give "store".',
    { type: 'PgIamWarning', code: 'PG_IAM_MEMORY_STORE' },
  )
  return createMemoryStore({}, now)
}

// Cookies. `__Host-`: only this origin can set them, over HTTPS, and no subdomain. Browsers treat localhost like HTTPS.

const SESSION = '__Host-pg-iam-session'
const ATTEMPT = '__Host-pg-iam-attempt-'
const ATTEMPTS_KEPT = 5

function attemptCookie(state: string): string {
  return ATTEMPT + createHash('sha256').update(state).digest('base64url').slice(0, 16)
}

/** `SameSite=Lax`: the callback is a navigation from the provider's site, and needs the cookie. */
function cookie(name: string, value: string, maxAgeSecs: number): string {
  return `${name}=${value}; Path=/; Max-Age=${maxAgeSecs}; HttpOnly; Secure; SameSite=Lax`
}

function expiredCookie(name: string): string {
  return cookie(name, '', 0)
}

/**
 * Of several cookies with one name, browsers send the one with the longest path first.
 *
 * Only spaces and tabs around a name are left out (RFC 6265, section 5.4): with another character before it, `__Host-` is no prefix for a
 * browser, which takes such a cookie from a subdomain.
 */
function cookiesOf(request: Request): Map<string, string> {
  const found = new Map<string, string>()
  for (const part of (request.headers.get('cookie') ?? '').split(';')) {
    const end = part.indexOf('=')
    const name = withoutSpaces(part.slice(0, end))
    if (end !== -1 && !found.has(name)) found.set(name, withoutSpaces(part.slice(end + 1)))
  }
  return found
}

function withoutSpaces(part: string): string {
  return part.replaceAll(/^[ \t]+|[ \t]+$/g, '')
}

// Requests and responses.

/** Also of another implementation than Node's. A request of Node's own server has a path instead of a URL, and other headers. */
function requireWebRequest(request: Request): void {
  const { url, headers } = Object(request) as Partial<Request>
  if (typeof url === 'string' && URL.canParse(url) && typeof headers?.get === 'function') return
  throw new PgIamError('ERR_OPTION_INVALID', '"request" must be a Web Request', {
    hint: "Node's own server needs an adapter, such as the one in docs/redshift-tutorial.md.",
  })
}

/** Of every response: not kept by any cache, and no address in the next request. */
const PRIVATE = { 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' } as const

/** 303: the browser goes on with GET, and does not send a form again (RFC 9700, section 4.12). */
function redirect(location: string, cookies: readonly string[]): Response {
  const response = new Response(null, { status: 303, headers: { location } })
  for (const each of cookies) response.headers.append('set-cookie', each)
  return response
}

/** A path of the application, for a redirect that must not lead elsewhere. Everything else is `/`. */
function pathOf(given: string | null, origin: string): string {
  // `//host` and `/\host` are other hosts for a browser, and it ignores tabs and line breaks.
  if (
    given === null ||
    !/^\/(?![/\\])/.test(given) ||
    // oxlint-disable-next-line no-control-regex
    /[\u0000-\u001f\\]/.test(given)
  )
    return '/'
  const { pathname, search, hash } = new URL(given, origin)
  const path = pathname + search + hash
  // `/..//host` is `//host` without its dots. Long ones would make a cookie that browsers drop.
  return pathname.startsWith('//') || path.length > 1_024 ? '/' : path
}

/** A form of another site could sign users out. Browsers say where a request comes from. */
function refuseForeignPages(request: Request, origin: string): void {
  const site = request.headers.get('sec-fetch-site')
  const from = request.headers.get('origin')
  if (site === null ? from === null || from === origin : site === 'same-origin' || site === 'none')
    return
  throw new PgIamError('ERR_SIGN_IN_STATE', 'the request comes from a page of another site')
}

const MAX_LOGOUT_BYTES = 65_536

async function logoutTokenOf(request: Request): Promise<string> {
  const type = request.headers.get('content-type') ?? ''
  if (!/^application\/x-www-form-urlencoded\b/i.test(type))
    throw new PgIamError('ERR_SIGN_IN_INVALID', 'the request is no form')
  if (Number(request.headers.get('content-length') ?? 0) > MAX_LOGOUT_BYTES)
    throw new PgIamError('ERR_SIGN_IN_INVALID', 'the request is too long')
  let body = ''
  const decoder = new TextDecoder()
  try {
    for await (const chunk of request.body ?? []) {
      body += decoder.decode(chunk as Uint8Array, { stream: true })
      if (body.length > MAX_LOGOUT_BYTES) break
    }
  } catch (cause) {
    throw new PgIamError('ERR_SIGN_IN_INVALID', 'the request could not be read', { cause })
  }
  if (body.length > MAX_LOGOUT_BYTES)
    throw new PgIamError('ERR_SIGN_IN_INVALID', 'the request is too long')
  const tokens = new URLSearchParams(body).getAll('logout_token')
  if (tokens.length !== 1)
    throw new PgIamError('ERR_SIGN_IN_INVALID', 'the request has no "logout_token", or several')
  return tokens[0]!
}

/** Answers the provider: 200, or 400 with an OAuth error (OpenID Connect Back-Channel Logout 1.0, section 2.8). */
async function answerProvider(
  request: Request,
  log: Logger | undefined,
  handle: () => Promise<void>,
): Promise<Response> {
  requireWebRequest(request)
  if (request.method !== 'POST')
    return new Response(null, { status: 405, headers: { ...PRIVATE, allow: 'POST' } })
  try {
    await handle()
    return new Response(null, { status: 200, headers: PRIVATE })
  } catch (error) {
    if (!isPgIamError(error)) throw error
    log?.warn(`pg-iam: ${error.message}`, { code: error.code })
    const isTemporary = STATUS[error.code] === 503
    return Response.json(
      // Anybody may ask. What does not answer, and where it is, is for the log.
      { error: 'invalid_request', error_description: isTemporary ? error.code : error.message },
      { status: isTemporary ? 503 : 400, headers: PRIVATE },
    )
  }
}

const STATUS: Partial<Record<PgIamErrorCode, number>> = {
  ERR_SIGN_IN_DENIED: 403,
  ERR_SIGN_IN_UNAVAILABLE: 503,
  ERR_SIGN_IN_LIMIT: 503,
  ERR_SIGN_IN_STORE: 503,
  ERR_PEER_MISSING: 500,
}

const TITLES: Partial<Record<PgIamErrorCode, string>> = {
  ERR_SIGN_IN_DENIED: 'The sign-in was denied',
  ERR_SIGN_IN_EXPIRED: 'The sign-in took too long',
  ERR_SIGN_IN_UNAVAILABLE: 'The sign-in is not available at the moment',
  ERR_SIGN_IN_LIMIT: 'The sign-in is not available at the moment',
  ERR_SIGN_IN_STORE: 'The sign-in is not available at the moment',
}

/** It contains nothing that came with the request. */
function plainPage(error: PgIamError): Response {
  const title = TITLES[error.code] ?? 'The sign-in failed'
  const html = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><title>${title}</title></head>
<body><main><h1>${title}</h1><p>${error.code}</p><p><a href="/">Continue</a></p></main></body></html>
`
  return new Response(html, {
    status: STATUS[error.code] ?? 400,
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    },
  })
}
