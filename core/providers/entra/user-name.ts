/** The database user that a token of Microsoft Entra ID is for, by what it says of its owner. */
import { isText } from '../../options/check.js'

/** A user, and the claim that it is from. */
export interface NamedUser {
  readonly user: string
  readonly claim: string
}

/**
 * Reads the claims of a token without verifying it: that is the server's business. Returns `undefined` for what is no JSON Web
 * Token.
 */
export function claimsOf(token: string): Readonly<Record<string, unknown>> | undefined {
  const [, payload, ...rest] = token.split('.')
  if (payload === undefined || rest.length !== 1) return undefined
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    return typeof claims === 'object' && claims !== null && !Array.isArray(claims)
      ? (claims as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

/**
 * The user by the first claim that names one, in the order of Microsoft's own libraries: the name of a user-assigned managed
 * identity (`xms_mirid`), then `upn`, `preferred_username`, `unique_name`.
 *
 * Those libraries know no name for the identity that a resource itself has. Its role is named after the resource, which is what
 * `xms_mirid` holds then, so it comes last.
 *
 * Order: https://learn.microsoft.com/python/api/azure-postgresql-auth/azure_postgresql_auth.core and
 * https://learn.microsoft.com/dotnet/api/overview/azure/Microsoft.Azure.PostgreSQL.Auth-readme. The resource's name:
 * https://learn.microsoft.com/azure/postgresql/security/security-connect-with-managed-identity, and for slots
 * https://learn.microsoft.com/azure/app-service/overview-managed-identity
 */
export function userFromClaims(claims: Readonly<Record<string, unknown>>): NamedUser | undefined {
  const resource = splitResourceId(claims['xms_mirid'])
  const candidates: readonly [claim: string, user: unknown][] = [
    ['xms_mirid', resource?.type === USER_ASSIGNED ? resource.name : undefined],
    ['upn', claims['upn']],
    ['preferred_username', claims['preferred_username']],
    ['unique_name', claims['unique_name']],
    ['xms_mirid', resource?.type === USER_ASSIGNED ? undefined : resource?.name],
  ]
  for (const [claim, user] of candidates) if (isText(user)) return { user, claim }
  return undefined
}

/**
 * The application ID of a service principal, whose token has no name: Microsoft's library for JavaScript takes `appid` for the user
 * (`@azure/postgresql-auth` 1.0.0-beta.1). The role must have been made under that name.
 *
 * The token of a person has an `appid`, too, of the program that asked for it, such as the Azure CLI; it has the claim `scp` besides:
 * https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
 */
export function applicationFromClaims(
  claims: Readonly<Record<string, unknown>>,
): NamedUser | undefined {
  const { appid, scp } = claims
  return isText(appid) && scp === undefined ? { user: appid, claim: 'appid' } : undefined
}

/** Type and name of `/subscriptions/ID/resourcegroups/GROUP/providers/TYPE/NAME`; a name may have parts: `shop/slots/staging`. */
function splitResourceId(id: unknown): { type: string; name: string } | undefined {
  if (typeof id !== 'string') return undefined
  const [, type, name] = /\/providers\/([^/]+\/[^/]+)\/([^/].*)$/i.exec(id) ?? []
  return type === undefined || name === undefined ? undefined : { type: type.toLowerCase(), name }
}

const USER_ASSIGNED = 'microsoft.managedidentity/userassignedidentities'
