/** Logins with tokens from any source: Vault, a token broker, a cloud that pg-iam does not support. */
import { createLogin, type Login } from '../login.js'
import { PgIamError } from '../errors.js'
import {
  type Check,
  describeKind,
  describeValue,
  type Environment,
  integerWithin,
  invalidSecret,
  isPlainObject,
  mapNonEmpty,
  nearestName,
} from '../options/check.js'
import {
  checkLoginOptions,
  COMMON_CHECKS,
  type CommonOptions,
  commonSettings,
} from '../options/common-options.js'
import { explainUntrusted } from '../tls.js'
import { type Clock, withTokenTimeout } from '../tokens/token-source.js'
import { type PartNames, receivedToken, type Token } from '../tokens/token.js'

export interface CustomLoginOptions extends CommonOptions {
  /** Returns a token. Called when a token is needed, never when the login is created. */
  getToken: GetToken
  /** Lifetime of a token without `expiresAt`, in seconds, from 1 to 604,800. Default 60. */
  tokenDurationSecs?: number
}

/**
 * Returns a login with the tokens of `getToken`, over verified TLS.
 *
 * One token is reused for all connections until it nears its expiry. Connections that are opened together share one call of `getToken`; a
 * failed call is not cached. With `reuseTokenSecs: 0` it is called for each connection. A token that the server rejects is replaced, at
 * most once a minute. It may also be an ordinary password, which a server may request by SCRAM-SHA-256 or MD5. The database user is `user`,
 * or the one that the token names; if both are given they must be equal. `getToken` is not called before the first connection.
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for invalid options. The login's `token()` rejects
 * with `ERR_TOKEN_REQUEST_FAILED`, whose `cause` is the error of `getToken`, with `ERR_TOKEN_TIMEOUT` after `tokenTimeoutMs`, and with
 * `ERR_TOKEN_INVALID` for a result that is not a token.
 */
export function customLogin(options: CustomLoginOptions): Login {
  return createCustomLogin(options, process.env)
}

/** The same with environment and clock as parameters. */
export function createCustomLogin(
  given: CustomLoginOptions,
  env: Environment,
  clock: Clock = Date.now,
): Login {
  const options = checkLoginOptions(given, CHECKS)
  const { getToken } = options
  if (getToken === undefined) throw invalidSecret('getToken', 'a function', undefined)
  const common = commonSettings(options, env, {
    port: 5432,
    database: 'postgres',
    reuseTokenSecs: Infinity,
    hostHint: 'the host name of the database',
    provider: 'custom',
  })
  const hosts = mapNonEmpty(common.targets, (target) => ({
    ...target,
    issueToken: customTokenIssuer(
      {
        ...common,
        host: target.host,
        getToken,
        user: options.user ?? options.username,
        defaultUser: common.user,
        durationSecs: options.tokenDurationSecs ?? 60,
      },
      clock,
    ),
  }))
  return createLogin(
    {
      ...common,
      provider: 'custom',
      hosts,
      tokenVerb: 'get',
      tokensArePasswords: true,
      explainFailure: explainUntrusted,
      // A token that is not shared cannot be outdated.
    },
    clock,
  )
}

/** The value is not shown, since it may be the token itself. */
const tokenFunction: Check<GetToken> = (value, name) => {
  if (typeof value !== 'function') throw invalidSecret(name, 'a function', value)
  return value as GetToken
}

const CHECKS = {
  ...COMMON_CHECKS,
  getToken: tokenFunction,
  tokenDurationSecs: integerWithin(1, 604_800, 'seconds'),
} as const

// Tokens from the caller's function.

/** Returns a token: only the password, or an object with its properties. */
export type GetToken = (context: TokenContext) => GivenToken | string | Promise<GivenToken | string>

/** The purpose of a token. */
export interface TokenContext {
  readonly host: string
  readonly port: number
  readonly database: string
  /** The database user, if known. */
  readonly user: string | undefined
  /** Aborts after `tokenTimeoutMs`, when the token is no longer needed. */
  readonly signal: AbortSignal
}

/** A token and its properties. */
export interface GivenToken {
  readonly value: string
  /** When the database stops accepting it. Default: `tokenDurationSecs` after it was received. */
  readonly expiresAt?: Date
  /** The database user, if the issuer names it. */
  readonly user?: string
}

interface CustomTokenSettings {
  host: string
  port: number
  database: string
  getToken: GetToken
  /** From the login. A token must not name a different user. */
  user: string | undefined
  /** Used if neither the login nor the token names a user. */
  defaultUser: string | undefined
  durationSecs: number
  tokenTimeoutMs: number
}

/** Creates the function that gets and checks a token. */
function customTokenIssuer(settings: CustomTokenSettings, now: Clock): () => Promise<Token> {
  const { host, port, database, getToken, user, defaultUser, durationSecs } = settings
  const what = `custom: the token for ${host}`
  return async () => {
    const given: unknown = await withTokenTimeout(
      settings.tokenTimeoutMs,
      `custom: could not get a token for ${host}`,
      (signal) => getToken({ host, port, database, user: user ?? defaultUser, signal }),
    )
    const parts = partsOf(given, host)
    const expiresAt = parts['expiresAt'] ?? new Date(now() + durationSecs * 1_000)
    const token = receivedToken(
      { value: parts['value'], expiresAt, user: parts['user'] },
      what,
      PART_NAMES,
    )
    checkUser(token, settings, what)
    return token
  }
}

const PART_NAMES: PartNames = { value: 'value', expiresAt: 'expiresAt', user: 'user' }

/** Unknown properties are rejected: with a misspelt `expiresAt` the token would be sent after it expired. */
function partsOf(given: unknown, host: string): Record<string, unknown> {
  if (typeof given === 'string') return { value: given }
  if (!isPlainObject(given)) {
    throw new PgIamError(
      'ERR_TOKEN_INVALID',
      `custom: "getToken" must return a string or { value, expiresAt, user } for ${host}, got ${describeKind(given)}`,
    )
  }
  const known = Object.keys(PART_NAMES)
  const unknown = Object.keys(given).find((key) => !known.includes(key))
  if (unknown === undefined) return given
  const nearest = nearestName(unknown, known)
  throw new PgIamError(
    'ERR_TOKEN_INVALID',
    `custom: the token for ${host} has the unknown property ${describeValue(unknown)}`,
    {
      hint:
        nearest === undefined
          ? `Known properties: ${known.join(', ')}.`
          : `Did you mean "${nearest}"?`,
    },
  )
}

function checkUser(token: Token, { user, defaultUser }: CustomTokenSettings, what: string): void {
  if (token.user === undefined && defaultUser === undefined) {
    throw new PgIamError('ERR_TOKEN_INVALID', `${what} names no user, and the login has none`, {
      hint: 'Set "user" of the login, or return { value, user } from "getToken".',
    })
  }
  if (user !== undefined && token.user !== undefined && token.user !== user) {
    throw new PgIamError(
      'ERR_TOKEN_INVALID',
      `${what} is for the user ${describeValue(token.user)}, not for ${describeValue(user)}`,
      { hint: 'Remove "user" if the token names the user.' },
    )
  }
}
