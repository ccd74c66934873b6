/** Endpoints of Aurora DSQL: their options, and their logins. */
import {
  type Check,
  checkOptions,
  describeValue,
  hostName,
  invalidOption,
  oneOf,
} from '../../core/options/check.js'
import { dsqlRegion } from '../../core/providers/aurora-dsql.js'
import type { ServerError } from '../../wire/error-response.js'
import {
  ownPrincipals,
  type Principal,
  principalList,
  type PrincipalOptions,
  type Principals,
  rolesOf,
} from './aws.js'
import { REPEATABLE_READ_ONLY } from './dsql-isolation.js'
import {
  COMMON_ENDPOINT_CHECKS,
  type CommonEndpointOptions,
  type EndpointDefinition,
  hostList,
  requiredOption,
} from './endpoint.js'
import { checkPresigned, fault, type PresignedToken, type TokenFault } from './presigned.js'
import { fatal, type ProviderErrors } from './refusal.js'
import {
  accepted,
  cleartextToken,
  denied,
  type Denied,
  type LoginAttempt,
  type Verifier,
} from './verifier.js'

export interface AuroraDsqlEndpoint extends CommonEndpointOptions {
  provider: 'aurora-dsql'
  /** Endpoint names, such as `abc….dsql.us-east-1.on.aws`. Each names its region. */
  hosts: readonly string[]
  /** Who may log in here. Default: the principals of the gateway. */
  principals?: readonly PrincipalOptions[]
}

export const auroraDsqlEndpoint: EndpointDefinition<AuroraDsqlEndpoint> = {
  check(value, name) {
    const given = checkOptions(value, CHECKS, `${name}.`)
    return {
      ...given,
      provider: 'aurora-dsql',
      hosts: requiredOption(given.hosts, `${name}.hosts`),
    }
  },
  roles: ({ principals }) => rolesOf(principals),
  create({ hosts, principals: own }, { principals: shared, clock }) {
    const principals = ownPrincipals(own, shared)
    return {
      method: cleartextToken(createAuroraDsqlVerifier({ principals, clusters: hosts, clock })),
      errors: AURORA_DSQL_ANSWERS,
      rules: REPEATABLE_READ_ONLY,
      roles: principals.roles(),
      principals,
      // So that development and tests need no package of AWS.
      loginOptions: { credentials: principals.credentials(), signer: 'built-in' },
    }
  },
}

/** The names of clusters, each with its region in it. */
export const clusterNames: Check<readonly string[]> = hostList((value, name) => {
  const cluster = hostName(value, name)
  if (dsqlRegion(cluster) === undefined)
    throw invalidOption(name, 'an endpoint name, CLUSTER.dsql.REGION.on.aws', value)
  return cluster
})

const CHECKS = {
  ...COMMON_ENDPOINT_CHECKS,
  provider: oneOf('aurora-dsql'),
  hosts: clusterNames,
  principals: principalList,
} as const

// Checks a login's token as Aurora DSQL would.

interface AuroraDsqlVerifierSettings {
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

// What Aurora DSQL tells its clients.

/**
 * Aurora DSQL's answer to a token that it does not take: one message whatever the fault, SQLSTATE 08006, and in some cases
 * a hint. AWS documents the hints (https://docs.aws.amazon.com/aurora-dsql/latest/userguide/troubleshooting.html); message
 * and SQLSTATE are what drivers print in public reports, such as https://github.com/dbcodeio/public/issues/637
 */
function accessDenied(hint?: string): ServerError {
  return fatal('08006', 'unable to accept connection, access denied', hint)
}

/** The same from the mapping of IAM principals to database roles, which public reports show with SQLSTATE 28000. */
function roleDenied(): ServerError {
  return fatal('28000', 'unable to accept connection, access denied')
}

const AURORA_DSQL_ANSWERS: ProviderErrors = {
  tlsRequired: () =>
    fatal('28000', 'unable to accept connection, TLS is required', 'Use sslmode=verify-full.'),
  // Text and SQLSTATE as in https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
  tooManyConnections: () =>
    fatal('53300', 'Unable to accept connection, too many open connections.'),
}

// The ID of a cluster in a startup packet, by which Aurora DSQL finds it behind an endpoint of AWS PrivateLink.

interface StartupParameters {
  readonly clusterId: string | undefined
  /** Without it: to PostgreSQL it would be a setting that does not exist. */
  readonly parameters: ReadonlyMap<string, string>
}

/** See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/privatelink-managing-clusters.html */
export function takeClusterId(parameters: ReadonlyMap<string, string>): StartupParameters {
  const options = parameters.get('options')
  let clusterId: string | undefined
  const rest = options?.replaceAll(CLUSTER_ID, (_match, id: string) => {
    clusterId = id
    return ''
  })
  if (rest === undefined || clusterId === undefined) return { clusterId, parameters }
  const others = new Map(parameters)
  if (rest.trim() === '') others.delete('options')
  else others.set('options', rest.trim())
  return { clusterId, parameters: others }
}

const CLUSTER_ID = /(?<!\S)(?:-c\s*|--)amzn[-_]cluster[-_]id=(\S*)/g
