/** Tokens that a function of the caller gives. */
import { PgIamError } from '../../errors.js'
import { isPlainObject } from '../../options/check.js'
import { nearestName } from '../../options/nearest-name.js'
import { describeKind, describeValue } from '../../redact.js'
import { receivedToken, type PartNames } from '../../tokens/received-token.js'
import type { Clock } from '../../tokens/token-source.js'
import type { Token } from '../../tokens/token.js'
import { untilTokenTimeout } from '../../tokens/until-token-timeout.js'

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

export interface CustomTokenSettings {
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
export function customTokenIssuer(settings: CustomTokenSettings, now: Clock): () => Promise<Token> {
  const { host, port, database, getToken, user, defaultUser, durationSecs } = settings
  const what = `custom: the token for ${host}`
  return async () => {
    const given: unknown = await untilTokenTimeout(
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
