/** Checks a login's token as RDS and Aurora PostgreSQL would. */
import { describeValue } from '../../../core/redact.js'
import { checkPresigned, fault, type TokenFault } from '../aws/check-presigned.js'
import type { PresignedToken } from '../aws/presigned-token.js'
import type { Principal, Principals } from '../aws/principals.js'
import { accepted, denied, type Denied, type LoginAttempt, type Verifier } from '../verifier.js'
import { pamFailed } from './answers.js'

export interface RdsVerifierSettings {
  principals: Principals
  /** Host names of the databases, in lower case, each with its region. */
  regions: ReadonlyMap<string, string>
  /** The port that tokens are for. */
  port: number
  /** Epoch milliseconds. */
  clock: () => number
}

/** Creates the check. */
export function createRdsVerifier(settings: RdsVerifierSettings): Verifier {
  return {
    verify(attempt) {
      const checked = checkPresigned(attempt.token, {
        principals: settings.principals,
        hostForm: 'host:port',
        maxDurationSecs: MAX_DURATION_SECS,
        now: settings.clock(),
      })
      const refused = (wrong: TokenFault): Denied =>
        denied(wrong.fault, wrong.explanation, pamFailed(attempt.role))
      if ('fault' in checked) return refused(checked)
      const { token, principal } = checked
      const wrong = checkTarget(token, attempt, settings) ?? checkRole(token, attempt, principal)
      return wrong ? refused(wrong) : accepted(token.accessKeyId, checked.accepted)
    },
  }
}

/**
 * Tokens live 15 minutes: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html
 * Those that are made to live longer are refused: https://github.com/aws/aws-sdk-go/issues/3903
 */
const MAX_DURATION_SECS = 900

function checkTarget(
  token: PresignedToken,
  { servername }: LoginAttempt,
  { regions, port }: RdsVerifierSettings,
): TokenFault | undefined {
  const { scope } = token
  if (scope.service !== 'rds-db')
    return fault(
      'service-wrong',
      `the token is for the service ${describeValue(scope.service)}, not "rds-db"`,
    )
  const host = token.host.toLowerCase()
  const region = regions.get(host)
  if (region === undefined)
    return fault(
      'host-unknown',
      `the token is for ${describeValue(host)}, no host of this endpoint`,
    )
  // A client on this machine may well dial "localhost" and sign for the database, but not one database for another.
  const dialled = servername?.toLowerCase()
  if (dialled !== undefined && regions.has(dialled) && host !== dialled)
    return fault('host-wrong', `the token is for ${host}, and the client dialled ${dialled}`)
  if (token.port !== port)
    return fault('port-wrong', `the token is for the port ${token.port}, not ${port}`)
  if (scope.region !== region)
    return fault(
      'region-wrong',
      `the token is for the region ${describeValue(scope.region)}, the database is in ${region}`,
    )
  return undefined
}

function checkRole(
  { action, dbUser }: PresignedToken,
  { role }: LoginAttempt,
  principal: Principal,
): TokenFault | undefined {
  if (action !== 'connect') return fault('action-wrong', 'the action of the token is not "connect"')
  if (dbUser !== role)
    return fault(
      'user-wrong',
      `the token is for the user ${describeValue(dbUser)}, and the client logs in as ${describeValue(role)}`,
    )
  if (!principal.roles.has(role))
    return fault('role-not-allowed', 'the principal may not log in as this role')
  return undefined
}
