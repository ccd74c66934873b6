/**
 * The OpenID provider: discovery, the authorization-code flow with PKCE, refresh, revocation and logout tokens.
 *
 * openid-client (6.9) makes the requests and checks their responses; jose checks logout tokens, which openid-client does not know.
 */
import { PgIamError, type PgIamErrorCode } from '../core/errors.js'
import { singleFlight } from '../core/async.js'
import { peerError } from '../core/load-peer.js'
import { loadJose } from '../core/load-jose.js'

export interface ProviderSettings {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string | undefined
  /** `undefined` for the default: `openid`, and `offline_access` if the provider knows it. */
  readonly scopes: readonly string[] | undefined
  readonly authorizationParams: Readonly<Record<string, string>>
  readonly clockSkewSecs: number
  readonly requestTimeoutMs: number
  readonly now: () => number
}

/** What belongs to one attempt to sign in, and is compared at the callback. */
export interface AttemptSecrets {
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
}

/** The tokens of a signed-in user. */
export interface UserTokens {
  readonly subject: string
  /** The claims of the ID token. */
  readonly claims: Readonly<Record<string, unknown>>
  readonly idToken: string
  readonly accessToken: string
  /** Absent if the provider issues none for these scopes. */
  readonly refreshToken?: string
  /** When they have to be refreshed: when the first of ID token and access token expires, in epoch milliseconds. */
  readonly expiresAt: number
  readonly idTokenExpiresAt: number
}

/** What a logout token ends: one session at the provider, or all of a user. */
export interface LogoutTokenClaims {
  readonly subject: string | undefined
  readonly sid: string | undefined
  readonly jti: string
  /** Sessions that began until then are meant, in epoch milliseconds. */
  readonly until: number
}

export interface DeviceCode {
  /** Where the user enters the code. */
  readonly verificationUri: string
  /** The same with the code in it, if the provider has such a page. */
  readonly verificationUriComplete: string | undefined
  readonly userCode: string
  /** Waits until the user has entered the code. */
  readonly wait: (signal?: AbortSignal) => Promise<UserTokens>
}

export interface IdentityProvider {
  newAttempt(): Promise<AttemptSecrets>
  /** The address to which the browser goes. */
  authorizationUrl(redirectUri: string, secrets: AttemptSecrets): Promise<string>
  /** @param callback the address to which the provider has sent the browser */
  exchangeCode(callback: URL, secrets: AttemptSecrets): Promise<UserTokens>
  deviceCode(): Promise<DeviceCode>
  /** Rejects with `ERR_SESSION_ENDED` if the provider no longer accepts the refresh token. */
  refresh(tokens: UserTokens): Promise<UserTokens>
  /** Exchanges a token for another one, such as on behalf of the user. */
  exchangeToken(
    grantType: string,
    parameters: Record<string, string>,
  ): Promise<{ token: string; expiresAt: number }>
  /** Revokes what the provider can revoke of these tokens. */
  revoke(tokens: UserTokens): Promise<void>
  /** The address for the sign-out at the provider, or `undefined` if it has none. No token is in it. */
  endSessionUrl(tokens: UserTokens, returnTo: string): Promise<string | undefined>
  /** Verifies a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6). */
  verifyLogoutToken(token: string): Promise<LogoutTokenClaims>
}

type OpenId = typeof import('openid-client')
type Configuration = import('openid-client').Configuration
type TokenResponse = import('openid-client').TokenEndpointResponse &
  import('openid-client').TokenEndpointResponseHelpers

export function createIdentityProvider(settings: ProviderSettings): IdentityProvider {
  const { issuer, clientId, clientSecret, now } = settings
  let discovered: { config: Configuration; at: number; skew: number } | undefined
  // openid-client reads the clock of the process. Tests replace the one of this module.
  const skew = (): number => Math.round((now() - Date.now()) / 1_000)

  const discover = singleFlight(async (): Promise<Configuration> => {
    const client = await loadOpenId()
    const clientClock = skew()
    const config = await client.discovery(
      new URL(issuer),
      clientId,
      {
        [client.clockTolerance]: settings.clockSkewSecs,
        [client.clockSkew]: clientClock,
      },
      authentication(client, clientSecret),
      {
        // The ID token comes over TLS from the token endpoint. Its signature is checked nonetheless.
        execute: [
          client.enableNonRepudiationChecks,
          ...(new URL(issuer).protocol === 'http:' ? [client.allowInsecureRequests] : []),
        ],
        timeout: settings.requestTimeoutMs / 1_000,
      },
    )
    discovered = { config, at: now(), skew: clientClock }
    return config
  })
  /** The provider's endpoints change rarely. Its keys are fetched again when a token was signed with an unknown one. */
  const configuration = async (): Promise<Configuration> =>
    discovered !== undefined &&
    now() - discovered.at < DISCOVERY_MS &&
    Math.abs(skew() - discovered.skew) <= 1
      ? discovered.config
      : discover()

  /** Runs one request to the provider, with its errors in terms of pg-iam, without the secrets that the provider may have repeated. */
  const ask = async <T>(
    step: Step,
    work: (client: OpenId, config: Configuration) => Promise<T>,
    secrets: readonly (string | null | undefined)[] = [],
  ): Promise<T> => {
    const client = await loadOpenId()
    try {
      return await work(client, await configuration())
    } catch (error) {
      const known = [clientSecret, ...secrets].filter((secret) => isSecret(secret))
      throw signInError(error, step, issuer, (text) =>
        known.reduce((rest, secret) => rest.replaceAll(secret, '***'), text),
      )
    }
  }

  const received = (response: TokenResponse, before?: UserTokens): UserTokens => {
    const renewed: Readonly<Record<string, unknown>> | undefined = response.claims()
    const claims =
      renewed === undefined ? before?.claims : { ...ofSignIn(before?.claims), ...renewed }
    const idToken = response.id_token ?? before?.idToken
    if (claims === undefined || idToken === undefined)
      throw new PgIamError('ERR_SIGN_IN_INVALID', `${issuer} issued no ID token`, {
        hint: 'Request the scope "openid".',
      })
    if (before !== undefined && claims['sub'] !== before.subject)
      throw new PgIamError('ERR_SIGN_IN_INVALID', `${issuer} refreshed the tokens of another user`)
    // openid-client (6.9) checks the end of an ID token, but not its beginning.
    if (
      typeof claims['iat'] === 'number' &&
      claims['iat'] * 1_000 - now() > settings.clockSkewSecs * 1_000
    )
      throw new PgIamError('ERR_SIGN_IN_INVALID', `the ID token of ${issuer} is from the future`, {
        hint: 'Check the clock of this host, or raise "limits.clockSkewSecs".',
      })
    const expiresIn = response.expiresIn()
    const seconds = expiresIn === undefined ? undefined : Math.min(expiresIn, LONGEST_TOKEN_SECS)
    const idTokenExpiresAt =
      renewed === undefined ? (before?.idTokenExpiresAt ?? 0) : Number(claims['exp']) * 1_000
    const accessTokenExpiresAt = now() + (seconds ?? DEFAULT_TOKEN_SECS) * 1_000
    // Without a new ID token, which providers may leave out, another refresh would not help.
    const expiresAt =
      renewed === undefined
        ? accessTokenExpiresAt
        : Math.min(idTokenExpiresAt, seconds === undefined ? Infinity : accessTokenExpiresAt)
    const refreshToken = response.refresh_token ?? before?.refreshToken
    return {
      subject: claims['sub'] as string,
      claims,
      idToken,
      accessToken: response.access_token,
      ...(refreshToken === undefined ? {} : { refreshToken }),
      expiresAt,
      idTokenExpiresAt,
    }
  }

  const scope = (config: Configuration): string =>
    (
      settings.scopes ?? [
        'openid',
        ...(config.serverMetadata().scopes_supported?.includes('offline_access') === true
          ? ['offline_access']
          : []),
      ]
    ).join(' ')

  let keys: { url: string; set: ReturnType<typeof import('jose').createRemoteJWKSet> } | undefined

  return {
    async newAttempt() {
      const client = await loadOpenId()
      return {
        state: client.randomState(),
        nonce: client.randomNonce(),
        codeVerifier: client.randomPKCECodeVerifier(),
      }
    },

    authorizationUrl: (redirectUri, { state, nonce, codeVerifier }) =>
      ask('could not start the sign-in', async (client, config) => {
        const url = client.buildAuthorizationUrl(config, {
          ...settings.authorizationParams,
          redirect_uri: redirectUri,
          scope: scope(config),
          state,
          nonce,
          code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
          code_challenge_method: 'S256',
        })
        return url.href
      }),

    exchangeCode: (callback, { state, nonce, codeVerifier }) =>
      ask(
        'the sign-in failed',
        async (client, config) =>
          received(
            await client.authorizationCodeGrant(config, callback, {
              expectedState: state,
              expectedNonce: nonce,
              pkceCodeVerifier: codeVerifier,
              idTokenExpected: true,
            }),
          ),
        [callback.searchParams.get('code'), state, nonce, codeVerifier],
      ),

    deviceCode: () =>
      ask('could not start the sign-in', async (client, config) => {
        const started = await client.initiateDeviceAuthorization(config, { scope: scope(config) })
        return {
          verificationUri: shown(started.verification_uri),
          verificationUriComplete:
            started.verification_uri_complete && shown(started.verification_uri_complete),
          userCode: shown(started.user_code),
          wait: (signal) =>
            ask('the sign-in failed', async () =>
              received(
                await client.pollDeviceAuthorizationGrant(config, started, undefined, {
                  ...(signal === undefined ? {} : { signal }),
                }),
              ),
            ),
        }
      }),

    refresh(tokens) {
      const { refreshToken } = tokens
      if (refreshToken === undefined) return Promise.reject(sessionEnded('its tokens have expired'))
      return ask(
        'could not refresh the tokens',
        async (client, config) =>
          received(await client.refreshTokenGrant(config, refreshToken), tokens),
        [refreshToken],
      )
    },

    exchangeToken: (grantType, parameters) =>
      ask(
        'could not exchange the token',
        async (client, config) => {
          const response = await client.genericGrantRequest(config, grantType, parameters)
          const seconds = Math.min(response.expiresIn() ?? DEFAULT_TOKEN_SECS, LONGEST_TOKEN_SECS)
          return { token: response.access_token, expiresAt: now() + seconds * 1_000 }
        },
        Object.entries(parameters).flatMap(([name, value]) =>
          /(?:assertion|_token)$/.test(name) ? [value] : [],
        ),
      ),

    revoke: ({ refreshToken, accessToken }) =>
      ask(
        'could not revoke the tokens',
        async (client, config) => {
          if (config.serverMetadata().revocation_endpoint === undefined) return
          // Providers revoke the access tokens of a refresh token with it (RFC 7009, section 2.1).
          await client.tokenRevocation(config, refreshToken ?? accessToken, {
            token_type_hint: refreshToken === undefined ? 'access_token' : 'refresh_token',
          })
        },
        [refreshToken, accessToken],
      ),

    endSessionUrl: ({ claims }, returnTo) =>
      ask('could not sign out at the provider', async (client, config) => {
        if (config.serverMetadata().end_session_endpoint === undefined) return undefined
        // Without `id_token_hint`: addresses are in the history and in logs. The provider asks the user instead.
        const name = claims['preferred_username'] ?? claims['email']
        return client.buildEndSessionUrl(config, {
          post_logout_redirect_uri: returnTo,
          ...(typeof name === 'string' ? { logout_hint: name } : {}),
        }).href
      }),

    async verifyLogoutToken(token) {
      const jose = await loadJose()
      const metadata = (
        await ask('could not verify the logout token', async (_client, config) => config)
      ).serverMetadata()
      const url = metadata.jwks_uri
      if (url === undefined) throw refusedLogoutToken(`${issuer} publishes no keys`)
      if (keys?.url !== url)
        keys = {
          url,
          set: jose.createRemoteJWKSet(new URL(url), {
            timeoutDuration: settings.requestTimeoutMs,
          }),
        }
      const algorithms = (
        (metadata.id_token_signing_alg_values_supported as string[] | undefined) ?? ['RS256']
      ).filter((name) => ASYMMETRIC.test(name))
      let payload: Record<string, unknown>
      let type: string | undefined
      try {
        const verified = await jose.jwtVerify(token, keys.set, {
          issuer: metadata.issuer,
          audience: clientId,
          algorithms,
          clockTolerance: settings.clockSkewSecs,
          currentDate: new Date(now()),
          requiredClaims: ['iat', 'exp', 'jti', 'events'],
          // Also refuses one from the future.
          maxTokenAge: LOGOUT_TOKEN_SECS,
        })
        payload = verified.payload
        type = verified.protectedHeader.typ
      } catch (error) {
        throw logoutTokenError(error, issuer)
      }
      return noticeOf(payload, type, settings.clockSkewSecs, now())
    },
  }
}

/** For providers that say nothing, which RFC 6749 only recommends. */
const DEFAULT_TOKEN_SECS = 300
/** A provider may send any number. */
const LONGEST_TOKEN_SECS = 365 * 86_400

/**
 * The claims that describe the sign-in, such as the `sid` that a back-channel logout names. Providers may leave them out when they refresh.
 * All others may have been withdrawn.
 */
function ofSignIn(claims: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const names = ['sid', 'auth_time', 'acr', 'amr']
  return Object.fromEntries(Object.entries(claims).filter(([name]) => names.includes(name)))
}

/** Short ones would blank ordinary words. */
function isSecret(text: string | null | undefined): text is string {
  return typeof text === 'string' && text.length >= 8
}

/** How long the provider's metadata are kept, in milliseconds. */
const DISCOVERY_MS = 3_600_000

/** Signatures with the client's secret (HS256) are not accepted: a client could forge them. */
const ASYMMETRIC = /^(?:RS|PS|ES)\d{3}$|^Ed(?:DSA|25519)$/

/** The way in which the client authenticates: `client_secret_basic`, which is the default of OpenID Connect, if the provider knows it. */
function authentication(
  client: OpenId,
  clientSecret: string | undefined,
): import('openid-client').ClientAuth {
  if (clientSecret === undefined) return client.None()
  const basic = client.ClientSecretBasic(clientSecret)
  const post = client.ClientSecretPost(clientSecret)
  return (server, ...request) => {
    const methods = server.token_endpoint_auth_methods_supported
    const method = methods === undefined || methods.includes('client_secret_basic') ? basic : post
    method(server, ...request)
  }
}

/** The claims of a logout token that jose does not check. */
function noticeOf(
  claims: Record<string, unknown>,
  type: string | undefined,
  clockSkewSecs: number,
  receivedAt: number,
): LogoutTokenClaims {
  const { sub, sid, nonce, events, jti } = claims
  // The specification recommends `logout+jwt`. Some providers send `JWT` or nothing.
  if (type !== undefined && !/^(?:application\/)?(?:logout\+jwt|jwt)$/i.test(type))
    throw refusedLogoutToken(`its type is "${type}"`)
  const event =
    typeof events === 'object' && events !== null
      ? (events as Record<string, unknown>)[LOGOUT_EVENT]
      : undefined
  if (typeof event !== 'object' || event === null)
    throw refusedLogoutToken('it has no event of a back-channel logout')
  if (nonce !== undefined) throw refusedLogoutToken('it has a nonce, which only ID tokens have')
  if (typeof jti !== 'string' || jti === '') throw refusedLogoutToken('its "jti" is no text')
  const isGiven = (value: unknown): value is string => typeof value === 'string' && value !== ''
  if (!isGiven(sub) && !isGiven(sid)) throw refusedLogoutToken('it has neither "sub" nor "sid"')
  return {
    subject: isGiven(sub) ? sub : undefined,
    sid: isGiven(sid) ? sid : undefined,
    jti,
    // Not those that begin after it has come.
    until: Math.min((Number(claims['iat']) + clockSkewSecs) * 1_000, receivedAt),
  }
}

/** The oldest logout token that is accepted, and how long its ID is remembered, in seconds. */
export const LOGOUT_TOKEN_SECS = 3_600
const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout'

function refusedLogoutToken(reason: string): PgIamError {
  return new PgIamError('ERR_SIGN_IN_INVALID', `the logout token was refused: ${reason}`)
}

function logoutTokenError(error: unknown, issuer: string): PgIamError {
  const { code, message } = (error ?? {}) as { code?: string; message?: string }
  return code === undefined || code === 'ERR_JWKS_TIMEOUT' || code === 'ERR_JOSE_GENERIC'
    ? unavailable('could not verify the logout token', issuer, error)
    : refusedLogoutToken(String(message))
}

async function loadOpenId(): Promise<OpenId> {
  try {
    return await import('openid-client')
  } catch (error) {
    throw peerError(error, 'openid-client')
  }
}

// Errors. Those of openid-client contain responses, and therefore tokens: only their codes and texts are kept.

type Step =
  | 'could not start the sign-in'
  | 'the sign-in failed'
  | 'could not refresh the tokens'
  | 'could not exchange the token'
  | 'could not revoke the tokens'
  | 'could not sign out at the provider'
  | 'could not verify the logout token'

interface OpenIdError {
  readonly code?: string
  /** The code of an OAuth error response, such as `invalid_grant`. */
  readonly error?: string
  readonly error_description?: string
  readonly status?: number
  readonly cause?: unknown
}

function signInError(
  error: unknown,
  step: Step,
  issuer: string,
  redact: (text: string) => string,
): PgIamError {
  if (isOwn(error)) return error
  const {
    code,
    error: oauthError,
    error_description: description,
    status,
    cause,
  } = (error ?? {}) as OpenIdError
  if (oauthError !== undefined) {
    // They should be texts, but a provider may send anything.
    const texts = [oauthError, description].filter((text) => typeof text === 'string')
    const told = `${step}: ${issuer} answered ${texts.map((text) => shown(redact(text))).join(', ')}`
    if (step === 'could not refresh the tokens' && oauthError === 'invalid_grant')
      return sessionEnded('its tokens can no longer be refreshed')
    if (TEMPORARY.has(oauthError) || (status ?? 0) >= 500)
      return made('ERR_SIGN_IN_UNAVAILABLE', told, true)
    if (DENIED.has(oauthError)) return made('ERR_SIGN_IN_DENIED', told)
    return made(
      'ERR_SIGN_IN_INVALID',
      told,
      false,
      oauthError === 'invalid_client' ? 'Check "clientId" and "clientSecret".' : undefined,
    )
  }
  const response = cause instanceof Response ? cause : undefined
  if (
    code === undefined ||
    code === 'OAUTH_TIMEOUT' ||
    code === 'OAUTH_ABORT' ||
    (response !== undefined && (response.status >= 500 || response.status === 429))
  )
    return unavailable(step, issuer, error)
  return made('ERR_SIGN_IN_INVALID', `${step}: ${redact(reasonOf(error))}`)
}

const DENIED = new Set([
  'access_denied',
  'login_required',
  'consent_required',
  'interaction_required',
])
const TEMPORARY = new Set(['temporarily_unavailable', 'server_error', 'slow_down'])

function isOwn(error: unknown): error is PgIamError {
  return error instanceof PgIamError
}

function made(code: PgIamErrorCode, message: string, retryable = false, hint?: string): PgIamError {
  return new PgIamError(code, message, { retryable, ...(hint === undefined ? {} : { hint }) })
}

function unavailable(step: Step, issuer: string, error: unknown): PgIamError {
  return made(
    'ERR_SIGN_IN_UNAVAILABLE',
    `${step}: ${issuer} did not answer as an OpenID provider (${reasonOf(error)})`,
    true,
    'Check that the issuer is reachable from this host.',
  )
}

/** The error of everything that belongs to a session that is over. */
export function sessionEnded(reason?: string): PgIamError {
  const message =
    reason === undefined ? 'the session of this user has ended' : `the session has ended: ${reason}`
  return new PgIamError('ERR_SESSION_ENDED', message, { hint: 'Let the user sign in again.' })
}

/** The texts of an error and its causes, without any object of them. */
function reasonOf(error: unknown): string {
  const texts: string[] = []
  let each: unknown = error
  while (each instanceof Error && texts.length < 4) {
    const { code } = each as { code?: unknown }
    texts.push(typeof code === 'string' ? `${each.message} [${code}]` : each.message)
    each = each.cause
  }
  return texts.length === 0 ? 'unknown error' : texts.map(shown).join(': ')
}

/** A text of the provider, or of an attacker in its place, for one line of a log. */
function shown(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f]/g, ' ').slice(0, 200)
}
