/** Logins to Azure Database for PostgreSQL with Microsoft Entra ID. */
import type { Refusal } from '../../connection/authenticate.js'
import { isAuthRejected } from '../../connection/endpoint-health.js'
import { createLogin, type Login } from '../../login.js'
import { type Environment, mapNonEmpty, oneOf, presentIn, text } from '../../options/check.js'
import {
  checkLoginOptions,
  COMMON_CHECKS,
  type CommonOptions,
  commonSettings,
} from '../../options/common-options.js'
import { cloudAuthorities, explainUntrusted } from '../../tls.js'
import { type Clock } from '../../tokens/token-source.js'
import {
  type AzureCredentialProvider,
  azureCredentials,
  type AzureTokenCredential,
  CLOUDS,
  defaultAzureCredential,
  entraTokenIssuer,
  type NamedUser,
} from './token.js'
import { type AzureCloud, azureCloudOf } from '../host-names.js'

export interface EntraOptions extends CommonOptions {
  /** Any `TokenCredential` of the Azure SDK, or a function that returns one. Default: `DefaultAzureCredential` of `@azure/identity`. */
  credentials?: AzureTokenCredential | AzureCredentialProvider
  /** The cloud of the server. Default: the one in `host`, else `'public'`. */
  cloud?: AzureCloud
  /** The scope to request tokens for. Default: the scope of the cloud's databases, which ends in `/.default`. */
  scope?: string
  /** The user if neither `user` nor `PGUSER` is given and the token names none. */
  fallbackUsername?: string
}

/**
 * Returns a login to Azure Database for PostgreSQL with Microsoft Entra ID tokens, over verified TLS.
 *
 * One token is reused for all connections until it nears its expiry, since Entra ID is remote and limits requests. A token that the server
 * rejects is replaced, at most once a minute. `user` is the role to log in as. Default: the owner of the token by its claims (`login.user`,
 * from the first token on), which is a name, or for a service principal its application ID (`appid`); else `fallbackUsername`. Tokens do
 * not name groups, so these need `user`. Azure's certificate authorities are trusted even if this version of Node does not ship them. See
 * https://learn.microsoft.com/azure/postgresql/security/security-entra-configure
 *
 * Exported from `'pg-iam'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`, `ERR_OPTION_CONFLICT` or `ERR_TLS_UNVERIFIED` for invalid options. The login's `token()` rejects
 * with `ERR_CREDENTIALS_UNAVAILABLE`, `ERR_TOKEN_REQUEST_FAILED`, `ERR_TOKEN_TIMEOUT`, `ERR_TOKEN_INVALID` (also if the token names no user
 * and none was given) or `ERR_PEER_MISSING`.
 */
export function entra(options: EntraOptions = {}): Login {
  return createEntra(options, process.env)
}

/** The same with environment and clock as parameters. */
export function createEntra(given: EntraOptions, env: Environment, clock?: Clock): Login {
  const options = checkLoginOptions(given, CHECKS)
  const common = commonSettings(options, env, {
    port: 5432,
    database: 'postgres',
    reuseTokenSecs: Infinity,
    hostHint: 'the name of the server, NAME.postgres.database.azure.com',
    provider: 'entra',
  })
  const cloud = options.cloud ?? azureCloudOf(common.targets[0].host) ?? 'public'
  const { scope, managementScope, authorityHost } = CLOUDS[cloud]
  let named: NamedUser | undefined
  const issueToken = entraTokenIssuer({
    credential: credentialOf(
      options.credentials,
      // The SDK reads the variable itself, and defaults to the public cloud.
      cloud === 'public' || presentIn(env, 'AZURE_AUTHORITY_HOST') !== undefined
        ? undefined
        : authorityHost,
    ),
    scope: options.scope ?? scope,
    managementScope,
    user: common.user,
    fallbackUser: options.fallbackUsername,
    found: (user) => void (named = user),
    tokenTimeoutMs: common.tokenTimeoutMs,
    counters: common.counters,
  })
  return createLogin(
    {
      ...common,
      provider: 'entra',
      hosts: mapNonEmpty(common.targets, (target) => ({ ...target, issueToken })),
      tokenVerb: 'get',
      loadAuthorities: () => azureAuthorities(env),
      explainRefusal: (refusal) => explain(refusal, named),
      explainFailure: explainUntrustedAzure,
    },
    clock,
  )
}

const CHECKS = {
  ...COMMON_CHECKS,
  credentials: azureCredentials,
  cloud: oneOf('public', 'us-government', 'china'),
  scope: text,
  fallbackUsername: text,
} as const

function credentialOf(
  given: AzureTokenCredential | AzureCredentialProvider | undefined,
  authorityHost: string | undefined,
): AzureCredentialProvider {
  if (given === undefined) return () => defaultAzureCredential(authorityHost)
  return typeof given === 'function' ? given : () => given
}

/** Explains how the user was determined, which the server's error cannot say. */
function explain({ sqlState, user }: Refusal, named: NamedUser | undefined): string | undefined {
  if (!isAuthRejected(sqlState)) return undefined
  if (named === undefined)
    return `"${user}" must be a role of the database that was created for this identity (pgaadauth_create_principal), with the same spelling.`
  return `The user "${user}" is from the claim ${named.claim} of the token. Give "user" if the role has another name, or create the role: SELECT * FROM pgaadauth_create_principal('${user.replaceAll("'", "''")}', false, false).`
}

// The public CAs that sign the certificates of Azure Database for PostgreSQL.

/** Resolves with the CAs to trust for its servers, as `cloudAuthorities` does. */
async function azureAuthorities(env: Environment): Promise<string | undefined> {
  const { AZURE_ROOTS } = await import('./azure-roots.js')
  return cloudAuthorities(AZURE_ROOTS, env)
}

/** Returns a hint for a server that is not trusted, or `undefined` for any other error. */
function explainUntrustedAzure(error: unknown, host: string): string | undefined {
  return explainUntrusted(
    error,
    host,
    "Azure's (https://learn.microsoft.com/azure/postgresql/security/security-tls)",
  )
}
