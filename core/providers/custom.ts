/** Logins with tokens from anywhere: Vault, a company's own broker, a cloud that pg-iam does not know. */
import { createLogin, type Login } from '../login.js'
import { PgIamError } from '../errors.js'
import {
  type Check,
  checkOptions,
  describeKind,
  describeValue,
  type Environment,
  integerWithin,
  invalidSecret,
  isPlainObject,
  mapNonEmpty,
  nearestName,
} from '../options/check.js'
import { COMMON_CHECKS, type CommonOptions, commonSettings } from '../options/common-options.js'
import { explainUntrusted } from '../tls.js'
import { type Clock, createTokenInvalidation, withTokenTimeout } from '../tokens/token-source.js'
import { type PartNames, receivedToken, type Token } from '../tokens/token.js'

export interface CustomLoginOptions extends CommonOptions {
  /** Gives a token; it is called when one is needed, and never when the login is made. */
  getToken: GetToken
  /** For how many seconds a token that comes without `expiresAt` is good, from 1 to 604,800. Default 60. */
  tokenDurationSecs?: number
}

/**
 * Returns a login with the tokens of `getToken`, over verified TLS.
 *
 * One token serves all connections until it nears its end; connections that are opened together share one call of `getToken`, and a
 * call that failed is forgotten. `reuseTokenSecs: 0` calls it for each connection. A token that the server refuses is not used
 * again: another one is asked for, once a minute at the most. It may be an ordinary password, which a server asks for by
 * SCRAM-SHA-256 or MD5. The database user is `user`, or what the token names; where both say
 * one they must agree. Nothing is called before the first connection.
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED`, at once, for options that cannot work.
 * The login's `token()` rejects with `ERR_TOKEN_REQUEST_FAILED`, whose `cause` is what `getToken` threw, with `ERR_TOKEN_TIMEOUT` where
 * it takes longer than `tokenTimeoutMs`, and with `ERR_TOKEN_INVALID` for what is no token.
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
  const options = checkOptions(given, CHECKS)
  const { getToken } = options
  if (getToken === undefined) throw invalidSecret('getToken', 'a function', undefined)
  const common = commonSettings(options, env, {
    port: 5432,
    database: 'postgres',
    reuseTokenSecs: Infinity,
    hostHint: 'the host name of the database',
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
      // A token that nobody shares has not been refused for its age.
      ...(common.reuseTokenSecs === 0 ? {} : { credentials: createTokenInvalidation(clock) }),
    },
    clock,
  )
}

/** Somebody may well give the token itself. */
const tokenFunction: Check<GetToken> = (value, name) => {
  if (typeof value !== 'function') throw invalidSecret(name, 'a function', value)
  return value as GetToken
}

const CHECKS = {
  ...COMMON_CHECKS,
  getToken: tokenFunction,
  tokenDurationSecs: integerWithin(1, 604_800, 'seconds'),
} as const

// Tokens that a function of the caller gives.

/** Gives a token: the password alone, or with what is known of it. */
export type GetToken = (context: TokenContext) => GivenToken | string | Promise<GivenToken | string>

/** What a token is for. */
export interface TokenContext {
  readonly host: string
  readonly port: number
  readonly database: string
  /** The database user, where it is known. */
  readonly user: string | undefined
  /** Fires when `tokenTimeoutMs` have passed: nobody waits for the token any more. */
  readonly signal: AbortSignal
}

/** A token, and what is known of it. */
export interface GivenToken {
  readonly value: string
  /** When the database stops accepting it. Default: `tokenDurationSecs` from when it came. */
  readonly expiresAt?: Date
  /** The database user, where the issuer names it. */
  readonly user?: string
}

interface CustomTokenSettings {
  host: string
  port: number
  database: string
  getToken: GetToken
  /** As given to the login; a token must not name another one. */
  user: string | undefined
  /** Where neither the login nor the token names one. */
  defaultUser: string | undefined
  durationSecs: number
  tokenTimeoutMs: number
}

/** Creates the function that gets a token and checks it. */
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

/** A misspelt `expiresAt` would be a token that is sent beyond its end. */
function partsOf(given: unknown, host: string): Record<string, unknown> {
  if (typeof given === 'string') return { value: given }
  if (!isPlainObject(given)) {
    throw new PgIamError(
      'ERR_TOKEN_INVALID',
      `custom: "getToken" must give a string or { value, expiresAt, user } for ${host}, got ${describeKind(given)}`,
    )
  }
  const known = Object.keys(PART_NAMES)
  const unknown = Object.keys(given).find((key) => !known.includes(key))
  if (unknown === undefined) return given
  const nearest = nearestName(unknown, known)
  throw new PgIamError(
    'ERR_TOKEN_INVALID',
    `custom: the token for ${host} came with ${describeValue(unknown)}, which is not known`,
    {
      hint:
        nearest === undefined ? `Known are: ${known.join(', ')}.` : `Did you mean "${nearest}"?`,
    },
  )
}

function checkUser(token: Token, { user, defaultUser }: CustomTokenSettings, what: string): void {
  if (token.user === undefined && defaultUser === undefined) {
    throw new PgIamError('ERR_TOKEN_INVALID', `${what} came without a user, and none was given`, {
      hint: 'Give "user" to the login, or let "getToken" return { value, user }.',
    })
  }
  if (user !== undefined && token.user !== undefined && token.user !== user) {
    throw new PgIamError(
      'ERR_TOKEN_INVALID',
      `${what} came for the user ${describeValue(token.user)}, not for ${describeValue(user)}`,
      { hint: 'Leave "user" out where the token names the user.' },
    )
  }
}
