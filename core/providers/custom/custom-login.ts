/** Logins with tokens from anywhere: Vault, a company's own broker, a cloud that pg-iam does not know. */
import { createLogin } from '../../create-login.js'
import type { Login } from '../../login.js'
import { mapNonEmpty } from '../../non-empty.js'
import { checkOptions, integerWithin, invalidSecret, type Check } from '../../options/check.js'
import {
  COMMON_CHECKS,
  type CommonOptions,
  type Environment,
} from '../../options/common-options.js'
import { explainUntrusted } from '../../tls/certificate-errors.js'
import { createRefusedTokens } from '../../tokens/refused-tokens.js'
import type { Clock } from '../../tokens/token-source.js'
import { commonSettings } from '../common-settings.js'
import { customTokenIssuer, type GetToken } from './token.js'

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

/** The same with its surroundings as parameters. */
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
  const hosts = mapNonEmpty(common.places, (place) => ({
    ...place,
    issueToken: customTokenIssuer(
      {
        ...common,
        host: place.host,
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
      tokensAre: 'got',
      tokensArePasswords: true,
      explainFailure: explainUntrusted,
      // A token that nobody shares has not been refused for its age.
      ...(common.reuseTokenSecs === 0 ? {} : { credentials: createRefusedTokens(clock) }),
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
