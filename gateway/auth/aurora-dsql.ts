/** Aurora DSQL endpoints: options and login verification. */
import {
  boolean,
  type Check,
  checkOptions,
  describeValue,
  hostName,
  integerWithin,
  invalidOption,
  oneOf,
} from '../../core/options/check.js'
import { dsqlRegion } from '../../core/providers/host-names.js'
import type { ServerError } from '../../wire/error-response.js'
import {
  ownPrincipals,
  type Principal,
  principalList,
  type PrincipalOptions,
  type Principals,
  rolesOf,
} from './aws.js'
import { createDsqlMode } from '../dsql/dsql-mode.js'
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

/** The SQL of Aurora DSQL endpoints. */
export type DsqlSql = 'aurora-dsql' | 'postgres'

export interface AuroraDsqlEndpoint extends CommonEndpointOptions {
  provider: 'aurora-dsql'
  /** Host names, such as `abc….dsql.us-east-1.on.aws`. Each contains its region. */
  hosts: readonly string[]
  /** The principals that may log in. Default: the principals of the gateway. */
  principals?: readonly PrincipalOptions[]
  /**
   * The SQL of the sessions. `aurora-dsql` answers as Aurora DSQL, and needs the package `libpg-query`. With `postgres`, only the isolation
   * level is that of Aurora DSQL. Default `aurora-dsql`, but `postgres` for an endpoint with an `upstream` of its own.
   */
  sql?: DsqlSql
  /** Refuses SQL of which it is not known whether Aurora DSQL accepts it. Default `false`: it is logged, and passed to the engine. */
  strict?: boolean
  /** How long a transaction may be open, in milliseconds, from 1 to 86,400,000. Default 300,000, as AWS documents. */
  transactionAgeMs?: number
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
  create(options, { principals: shared, clock, logger }) {
    const { hosts, principals: own, upstream } = options
    const principals = ownPrincipals(own, shared)
    const { sql = upstream === undefined ? 'aurora-dsql' : 'postgres' } = options
    const dsql = sql === 'aurora-dsql' ? createDsqlMode(options, { clock, logger }) : undefined
    const rules = dsql?.rules ?? REPEATABLE_READ_ONLY
    const mayUse = (principal: Principal, role: string): boolean =>
      dsql?.isMapped(principal.arn, role) ?? principal.roles.has(role)
    const verifier = createAuroraDsqlVerifier({ principals, clusters: hosts, clock, mayUse })
    return {
      method: cleartextToken(verifier),
      errors: AURORA_DSQL_ERRORS,
      rules: {
        ...rules,
        startup: (parameters) => rules.startup(takeClusterId(parameters).parameters),
      },
      ...(dsql && { dsql, prepare: () => dsql.load() }),
      roles: principals.roles(),
      principals,
      // Development and tests then need no AWS package.
      loginOptions: { credentials: principals.credentials(), signer: 'built-in' },
    }
  },
}

/** The host names of clusters, each of which contains its region. */
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
  sql: oneOf('aurora-dsql', 'postgres'),
  strict: boolean,
  transactionAgeMs: integerWithin(1, 86_400_000, 'milliseconds'),
} as const

// Verifies tokens the way Aurora DSQL does.

interface AuroraDsqlVerifierSettings {
  principals: Principals
  /** Host names in lower case. */
  clusters: readonly string[]
  /** Epoch milliseconds. */
  clock: () => number
  /** Default: the roles of the principal. */
  mayUse?: (principal: Principal, role: string) => boolean
}

/** Creates the verifier. */
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
      return (
        checkRole(token, attempt, principal, settings.mayUse) ??
        accepted(token.accessKeyId, checked.accepted)
      )
    },
  }
}

/** AWS's limit for Aurora DSQL: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/SECTION_authentication-token.html */
const MAX_DURATION_SECS = 604_800

function refusedToken({ fault: reason, explanation }: TokenFault): Denied {
  // Expiry is the only token fault that Aurora DSQL reports to the client.
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
      `the token is for ${describeValue(host)}, which is not a cluster of this endpoint`,
    )
  // A local client may connect to "localhost" with a token for the cluster, but not to one cluster with a token for another.
  if (dialled !== undefined && clusters.includes(dialled) && host !== dialled)
    return fault('host-wrong', `the token is for ${host}, but the client connected to ${dialled}`)
  if (clusterId !== undefined && !isLocal && !host.startsWith(`${clusterId}.`))
    return fault(
      'host-wrong',
      `the token is for ${host}, but the client requested the cluster ${describeValue(clusterId)}`,
    )
  const regions = (isLocal ? clusters : [host]).map(dsqlRegion)
  if (!regions.includes(token.scope.region))
    return fault(
      'region-wrong',
      `the token is for the region ${describeValue(token.scope.region)}, but the cluster is in ${[...new Set(regions)].join(', ')}`,
    )
  return undefined
}

/** Hosts in the tokens of clients that use the gateway's address instead of a cluster name. */
const LOCAL_HOSTS = ['localhost', '127.0.0.1']

function checkRole(
  { action }: PresignedToken,
  { role }: LoginAttempt,
  principal: Principal,
  mayUse = ({ roles }: Principal, wanted: string): boolean => roles.has(wanted),
): Denied | undefined {
  if (action !== (role === 'admin' ? 'DbConnectAdmin' : 'DbConnect')) {
    const known = action === 'DbConnect' || action === 'DbConnectAdmin'
    const hint = known
      ? `Wrong user to action mapping. user: ${role}, action: ${action}`
      : undefined
    return denied(
      'action-wrong',
      'the action of the token does not match the role',
      accessDenied(hint),
    )
  }
  if (!mayUse(principal, role))
    return denied('role-not-allowed', 'the principal may not log in as this role', roleDenied())
  return undefined
}

// The errors that Aurora DSQL sends to its clients.

/**
 * The error for a rejected token: the same message for every fault, SQLSTATE 08006, and in some cases a hint. AWS documents the hints
 * (https://docs.aws.amazon.com/aurora-dsql/latest/userguide/troubleshooting.html). Message and SQLSTATE are from driver output in public
 * reports, such as https://github.com/dbcodeio/public/issues/637
 */
function accessDenied(hint?: string): ServerError {
  return fatal('08006', 'unable to accept connection, access denied', hint)
}

/** The error for an IAM principal that is not mapped to the role. Public reports show it with SQLSTATE 28000. */
function roleDenied(): ServerError {
  return fatal('28000', 'unable to accept connection, access denied')
}

const AURORA_DSQL_ERRORS: ProviderErrors = {
  tlsRequired: () =>
    fatal('28000', 'unable to accept connection, TLS is required', 'Use sslmode=verify-full.'),
  // Text and SQLSTATE as in https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
  tooManyConnections: () =>
    fatal('53300', 'Unable to accept connection, too many open connections.'),
}

// The cluster ID in a startup packet, by which Aurora DSQL selects the cluster behind an AWS PrivateLink endpoint.

interface StartupParameters {
  readonly clusterId: string | undefined
  /** The parameters without the cluster ID, which PostgreSQL would reject as an unknown setting. */
  readonly parameters: ReadonlyMap<string, string>
}

/** Extracts the cluster ID. See https://docs.aws.amazon.com/aurora-dsql/latest/userguide/privatelink-managing-clusters.html */
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
