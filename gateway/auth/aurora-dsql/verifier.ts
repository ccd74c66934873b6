/** Checks a login's token as Aurora DSQL would. */
import { describeValue } from '../../../core/redact.js'
import { dsqlRegion } from '../../../core/providers/aurora-dsql/host.js'
import { checkPresigned, fault, type TokenFault } from '../aws/check-presigned.js'
import type { PresignedToken } from '../aws/presigned-token.js'
import type { Principal, Principals } from '../aws/principals.js'
import { accepted, denied, type Denied, type LoginAttempt, type Verifier } from '../verifier.js'
import { accessDenied, roleDenied } from './answers.js'

export interface AuroraDsqlVerifierSettings {
  principals: Principals
  /** Endpoint names, in lower case. */
  clusters: readonly string[]
  /** Epoch milliseconds. */
  clock: () => number
}

/** Creates the check. */
export function createAuroraDsqlVerifier(settings: AuroraDsqlVerifierSettings): Verifier {
  return {
    verify(attempt) {
      const checked = checkPresigned(attempt.token, {
        principals: settings.principals,
        hostForm: 'host',
        maxDurationSecs: MAX_DURATION_SECS,
        now: settings.clock(),
      })
      if ('fault' in checked) return refusedToken(checked)
      const { token, principal } = checked
      const wrong = checkTarget(token, attempt, settings)
      if (wrong !== undefined) return refusedToken(wrong)
      return checkRole(token, attempt, principal) ?? accepted(token.accessKeyId, checked.accepted)
    },
  }
}

/** AWS's limit for Aurora DSQL: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/SECTION_authentication-token.html */
const MAX_DURATION_SECS = 604_800

function refusedToken({ fault: reason, explanation }: TokenFault): Denied {
  // The one fault of a token that Aurora DSQL tells its client.
  return denied(
    reason,
    explanation,
    accessDenied(reason === 'token-expired' ? explanation : undefined),
  )
}

function checkTarget(
  token: PresignedToken,
  { servername, clusterId }: LoginAttempt,
  { clusters }: AuroraDsqlVerifierSettings,
): TokenFault | undefined {
  if (token.scope.service !== 'dsql')
    return fault(
      'service-wrong',
      `the token is for the service ${describeValue(token.scope.service)}, not "dsql"`,
    )
  const host = token.host.toLowerCase()
  const dialled = servername?.toLowerCase()
  const isLocal = LOCAL_HOSTS.includes(host)
  if (!isLocal && !clusters.includes(host))
    return fault(
      'host-unknown',
      `the token is for ${describeValue(host)}, no cluster of this endpoint`,
    )
  // A client on this machine may well dial "localhost" and sign for the cluster, but not one cluster for another.
  if (dialled !== undefined && clusters.includes(dialled) && host !== dialled)
    return fault('host-wrong', `the token is for ${host}, and the client dialled ${dialled}`)
  if (clusterId !== undefined && !isLocal && !host.startsWith(`${clusterId}.`))
    return fault(
      'host-wrong',
      `the token is for ${host}, and the client named the cluster ${describeValue(clusterId)}`,
    )
  const regions = (isLocal ? clusters : [host]).map(dsqlRegion)
  if (!regions.includes(token.scope.region))
    return fault(
      'region-wrong',
      `the token is for the region ${describeValue(token.scope.region)}, the cluster is in ${[...new Set(regions)].join(', ')}`,
    )
  return undefined
}

/** What clients sign for that know the gateway by its address only. */
const LOCAL_HOSTS = ['localhost', '127.0.0.1']

function checkRole(
  { action }: PresignedToken,
  { role }: LoginAttempt,
  principal: Principal,
): Denied | undefined {
  if (action !== (role === 'admin' ? 'DbConnectAdmin' : 'DbConnect')) {
    const known = action === 'DbConnect' || action === 'DbConnectAdmin'
    const hint = known
      ? `Wrong user to action mapping. user: ${role}, action: ${action}`
      : undefined
    return denied(
      'action-wrong',
      'the action of the token does not fit the role',
      accessDenied(hint),
    )
  }
  if (!principal.roles.has(role))
    return denied('role-not-allowed', 'the principal may not log in as this role', roleDenied())
  return undefined
}
