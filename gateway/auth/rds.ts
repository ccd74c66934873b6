/** RDS and Aurora PostgreSQL endpoints: options and login verification. */
import {
  checkOptions,
  describeValue,
  integerWithin,
  invalidOption,
  matching,
  oneOf,
} from '../../core/options/check.js'
import { rdsEndpoint as endpointName } from '../../core/providers/host-names.js'
import type { ServerError } from '../../wire/error-response.js'
import {
  ownPrincipals,
  type Principal,
  principalList,
  type PrincipalOptions,
  type Principals,
  rolesOf,
} from './aws.js'
import {
  COMMON_ENDPOINT_CHECKS,
  type CommonEndpointOptions,
  type EndpointDefinition,
  requiredOption,
} from './endpoint.js'
import { checkPresigned, fault, type PresignedToken, type TokenFault } from './presigned.js'
import { fatal, POSTGRES_ERRORS, type ProviderErrors, unencrypted } from './refusal.js'
import {
  accepted,
  cleartextToken,
  denied,
  type Denied,
  type LoginAttempt,
  type Verifier,
} from './verifier.js'

/** An instance or a cluster, or several with the same port. The roles of the principals count as granted `rds_iam`. */
export interface RdsEndpoint extends CommonEndpointOptions {
  provider: 'rds'
  /** Host names, such as `db.abc….eu-west-1.rds.amazonaws.com`; or, with `region`, any names that tokens are signed for. */
  hosts: readonly string[]
  /** The region of hosts whose name does not contain a region. */
  region?: string
  /** The port that tokens are signed for. Clients connect to the port of the gateway instead. Default 5432. */
  port?: number
  /** The principals that may log in. Default: the principals of the gateway. */
  principals?: readonly PrincipalOptions[]
}

export const rdsEndpoint: EndpointDefinition<RdsEndpoint> = {
  check(value, name) {
    const given = checkOptions(value, CHECKS, `${name}.`)
    const hosts = requiredOption(given.hosts, `${name}.hosts`)
    const withoutRegion = hosts.find((host) => regionOf(host, given.region) === undefined)
    if (withoutRegion !== undefined)
      throw invalidOption(
        `${name}.region`,
        `given for "${withoutRegion}", whose name contains no region`,
        undefined,
      )
    return { ...given, provider: 'rds', hosts }
  },
  roles: ({ principals }) => rolesOf(principals),
  create({ hosts, region, port = 5432, principals: own }, { principals: shared, clock }) {
    const principals = ownPrincipals(own, shared)
    const regions = new Map(hosts.map((host) => [host, regionOf(host, region) ?? '']))
    return {
      method: cleartextToken(createRdsVerifier({ principals, regions, port, clock })),
      errors: rdsErrors((role) => principals.anyMayUse(role)),
      roles: principals.roles(),
      principals,
      // Development and tests then need no AWS package.
      loginOptions: { port, credentials: principals.credentials(), signer: 'built-in' },
    }
  },
}

function regionOf(host: string, ofOthers: string | undefined): string | undefined {
  return endpointName(host)?.region ?? ofOthers
}

const CHECKS = {
  ...COMMON_ENDPOINT_CHECKS,
  provider: oneOf('rds'),
  region: matching(/^[a-z]{2,}(-[a-z0-9]+)+$/, 'the name of an AWS region'),
  port: integerWithin(1, 65_535),
  principals: principalList,
} as const

// Verifies tokens the way RDS and Aurora PostgreSQL do.

interface RdsVerifierSettings {
  principals: Principals
  /** Host names of the databases, in lower case, each with its region. */
  regions: ReadonlyMap<string, string>
  /** The port that tokens are signed for. */
  port: number
  /** Epoch milliseconds. */
  clock: () => number
}

/** Creates the verifier. */
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
 * Tokens are valid for 15 minutes: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html
 * Tokens with a longer lifetime are rejected: https://github.com/aws/aws-sdk-go/issues/3903
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
      `the token is for ${describeValue(host)}, which is not a host of this endpoint`,
    )
  // A local client may connect to "localhost" with a token for the database, but not to one database with a token for another.
  const dialled = servername?.toLowerCase()
  if (dialled !== undefined && regions.has(dialled) && host !== dialled)
    return fault('host-wrong', `the token is for ${host}, but the client connected to ${dialled}`)
  if (token.port !== port)
    return fault('port-wrong', `the token is for the port ${token.port}, not ${port}`)
  if (scope.region !== region)
    return fault(
      'region-wrong',
      `the token is for the region ${describeValue(scope.region)}, but the database is in ${region}`,
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
      `the token is for the user ${describeValue(dbUser)}, but the client logs in as ${describeValue(role)}`,
    )
  if (!principal.roles.has(role))
    return fault('role-not-allowed', 'the principal may not log in as this role')
  return undefined
}

// The errors that RDS and Aurora PostgreSQL send to their clients.

/**
 * RDS's error for a rejected token, the same for every fault:
 * https://repost.aws/knowledge-center/aurora-postgresql-connect-iam
 */
function pamFailed(role: string): ServerError {
  return fatal('28000', `PAM authentication failed for user "${role}"`)
}

/**
 * Without TLS, a separate pg_hba.conf rule rejects roles that log in with tokens (those granted `rds_iam`). Their message contains
 * "rejects", as in https://github.com/rust-postgres/rust-postgres/issues/1108. That of other roles contains "no entry", as in
 * https://github.com/beekeeper-studio/beekeeper-studio/issues/2327. PostgreSQL before 14 ended both with "SSL off".
 *
 * @param logsInByToken whether the role was granted `rds_iam`
 */
function rdsErrors(logsInByToken: (role: string) => boolean): ProviderErrors {
  return {
    ...POSTGRES_ERRORS,
    tlsRequired: (client) =>
      logsInByToken(client.role)
        ? fatal('28000', `pg_hba.conf rejects connection for ${unencrypted(client)}`)
        : POSTGRES_ERRORS.tlsRequired(client),
  }
}
