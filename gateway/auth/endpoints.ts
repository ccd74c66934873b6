/** The providers that the gateway can emulate, and the endpoints of a gateway. */
import { isIP } from 'node:net'
import { PgIamError } from '../../core/errors.js'
import {
  type Check,
  invalidOption,
  isPlainObject,
  oneOf,
  withoutUndefined,
} from '../../core/options/check.js'
import { createLimits } from '../connection/limits.js'
import { auroraDsqlEndpoint, type AuroraDsqlEndpoint } from './aurora-dsql.js'
import {
  type GatewayCredentials,
  type IssueOptions,
  issueTemporaryCredentials,
  type PrincipalOptions,
  type Principals,
  rolesOf,
  type TemporaryCredentials,
} from './aws.js'
import { certificateEndpoint, type CertificateEndpoint } from './certificate.js'
import { cloudSqlEndpoint, type CloudSqlEndpoint } from './cloud-sql.js'
import type { Endpoint, EndpointDefinition, EndpointProvider, EndpointDeps } from './endpoint.js'
import { entraEndpoint, type EntraEndpoint } from './entra/endpoint.js'
import { noneEndpoint, type NoneEndpoint } from './none.js'
import { passwordEndpoint, type PasswordEndpoint } from './password.js'
import { rdsEndpoint, type RdsEndpoint } from './rds.js'
import { redshiftEndpoint, type RedshiftEndpoint } from './redshift.js'
import { fatal, refusal, type Refusal } from './refusal.js'

/** The options of an endpoint, discriminated by `provider`. */
export type EndpointOptions =
  | AuroraDsqlEndpoint
  | RdsEndpoint
  | RedshiftEndpoint
  | EntraEndpoint
  | CloudSqlEndpoint
  | PasswordEndpoint
  | CertificateEndpoint
  | NoneEndpoint

/** One entry for each provider, which must also be a member of the union above. */
const DEFINITIONS: {
  readonly [P in EndpointProvider]: EndpointDefinition<Extract<EndpointOptions, { provider: P }>>
} = {
  'aurora-dsql': auroraDsqlEndpoint,
  rds: rdsEndpoint,
  redshift: redshiftEndpoint,
  entra: entraEndpoint,
  'cloud-sql': cloudSqlEndpoint,
  password: passwordEndpoint,
  certificate: certificateEndpoint,
  none: noneEndpoint,
}

/** Creates the endpoint of an entry of `endpoints`. */
export function createEndpoint(options: EndpointOptions, deps: EndpointDeps): Endpoint {
  const { provider, hosts, listen, upstream, maxConnections, queueTimeoutMs } = options
  const limits = withoutUndefined({ maxConnections, queueTimeoutMs })
  if (queueTimeoutMs !== undefined && maxConnections === undefined)
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"queueTimeoutMs" of the endpoint ${hosts[0]} must be given with "maxConnections"`,
    )
  return {
    ...{ provider, hosts, listen, upstream },
    limits: maxConnections === undefined ? undefined : createLimits(limits),
    ...definitionOf(provider).create(options, deps),
  }
}

/** Validates an entry of `endpoints` by its provider. */
export const endpointOptions: Check<EndpointOptions> = (value, name) => {
  if (!isPlainObject(value)) throw invalidOption(name, 'an object', value)
  const provider = providerName(value['provider'], `${name}.provider`)
  return definitionOf(provider).check(value, name)
}

/** All roles that the options name. */
export function rolesNamedIn(
  endpoints: readonly EndpointOptions[],
  principals: readonly PrincipalOptions[] = [],
): string[] {
  const named = endpoints.flatMap((options) => definitionOf(options.provider).roles(options))
  return [...rolesOf(principals), ...named]
}

/** Whether ID tokens may assume a role of the options. */
export function namesSubjects(
  endpoints: readonly EndpointOptions[],
  principals: readonly PrincipalOptions[] = [],
): boolean {
  const identities = endpoints.flatMap((options): readonly { subject?: string }[] => {
    switch (options.provider) {
      case 'redshift':
        return options.users
      case 'aurora-dsql':
      case 'rds':
        return options.principals ?? []
      default:
        return []
    }
  })
  return [...principals, ...identities].some(({ subject }) => subject !== undefined)
}

/** Whether clients could log in with identities that the gateway has made up, or with none. */
export function acceptsMadeUpIdentity(
  options: EndpointOptions,
  principals: readonly PrincipalOptions[] = [],
): boolean {
  switch (options.provider) {
    case 'none':
      return true
    case 'aurora-dsql':
    case 'rds':
      return (options.principals ?? principals).length === 0
    case 'redshift':
      return options.users.some(({ accessKeyId }) => accessKeyId === undefined)
    case 'entra':
      return [options.jwks, options.jwksUri, options.issuer].every((each) => each === undefined)
    case 'cloud-sql':
      return options.tokenInfo === undefined
    case 'password':
    case 'certificate':
      return false
  }
}

const providerName: Check<EndpointProvider> = oneOf(
  ...(Object.keys(DEFINITIONS) as EndpointProvider[]),
)

/** TypeScript cannot infer that a definition accepts the options of the same provider. */
function definitionOf(provider: EndpointProvider): EndpointDefinition<EndpointOptions> {
  return DEFINITIONS[provider] as EndpointDefinition<EndpointOptions>
}

// Validation of the list of endpoints: each entry, and whether clients can select each endpoint.

export const endpointList: Check<readonly EndpointOptions[]> = (value, name) => {
  if (!Array.isArray(value) || value.length === 0)
    throw invalidOption(name, 'an array of at least one endpoint', value)
  return value.map((item: unknown, index) => endpointOptions(item, `${name}[${index}]`))
}

/**
 * Rejects endpoints on the shared listener that the server name cannot distinguish, and listeners with the same port.
 *
 * @param endpoints the endpoints, each with the name of its option
 * @param port the port of the shared listener
 */
export function refuseAmbiguousEndpoints(
  endpoints: readonly { readonly name: string; readonly options: EndpointOptions }[],
  port: number,
): void {
  const sharing = endpoints.filter(({ options }) => options.listen === undefined)
  const ports = new Set(sharing.length > 0 && port !== 0 ? [port] : [])
  for (const { name, options } of endpoints) {
    const { listen = 0 } = options
    if (ports.has(listen))
      throw conflict(`${name}.listen`, `must not be ${listen}: another listener uses that port`)
    if (listen !== 0) ports.add(listen)
  }
  if (sharing.length === 1) return
  const taken = new Set<string>()
  for (const { name, options } of sharing) {
    for (const host of options.hosts) {
      if (isIP(host) !== 0)
        throw conflict(
          `${name}.hosts`,
          `must not contain "${host}": clients send no server name for an IP address`,
        )
      if (taken.has(host))
        throw conflict(
          `${name}.hosts`,
          `must not contain "${host}": another endpoint has that host`,
        )
      taken.add(host)
    }
  }
}

function conflict(name: string, problem: string): PgIamError {
  return new PgIamError('ERR_OPTION_CONFLICT', `"${name}" ${problem}`, {
    hint: 'The shared listener selects the endpoint by the server name that clients send. Set "listen" for a separate listener.',
  })
}

// The principals of all endpoints: some endpoints have their own, the others share those of the gateway.

interface PrincipalStores {
  /** The credentials of the first principal of the first AWS endpoint. */
  readonly credentials: GatewayCredentials
  issue(options: IssueOptions): TemporaryCredentials
  /** Revokes the access key at all endpoints. Returns `false` if no endpoint knows it. */
  revoke(accessKeyId: string): boolean
}

/** @param shared the principals of the gateway. Without an AWS endpoint, their credentials exist but are not accepted anywhere. */
export function createPrincipalStores(
  endpoints: readonly Endpoint[],
  shared: Principals,
  clock: () => number,
): PrincipalStores {
  const ofAws = endpoints.flatMap(({ hosts, principals }) =>
    principals === undefined ? [] : [{ hosts, principals }],
  )
  const first = ofAws[0]?.principals ?? shared
  const stores = new Set([...ofAws.map(({ principals }) => principals), shared])
  return {
    credentials: first.credentials(),
    issue: (options) =>
      issueTemporaryCredentials(
        (host) =>
          host === undefined ? first : ofAws.find(({ hosts }) => hosts.includes(host))?.principals,
        clock,
        options,
      ),
    revoke: (accessKeyId) => [...stores].map((store) => store.revoke(accessKeyId)).includes(true),
  }
}

// Which endpoint a client connects to.

export interface EndpointChoice {
  readonly all: readonly Endpoint[]
  /** The endpoint for clients that cannot select one, such as those without TLS. */
  readonly first: Endpoint
  /** Selects the endpoint by the server name of the TLS handshake, or else by the cluster ID. Returns a refusal if none matches. */
  choose(servername: string | undefined, clusterId?: string): Endpoint | Refusal
}

/** A single endpoint that only emulates is always selected, whatever the server name is. One with an upstream server is not. */
export function createEndpointChoice(first: Endpoint, others: readonly Endpoint[]): EndpointChoice {
  const all = [first, ...others]
  const byHost = new Map(all.flatMap((endpoint) => endpoint.hosts.map((host) => [host, endpoint])))
  return {
    all,
    first,
    choose(servername, clusterId) {
      if (others.length === 0 && first.upstream === undefined) return first
      const name = servername?.toLowerCase() ?? ''
      const isOfCluster = ({ provider, hosts }: Endpoint): boolean =>
        provider === 'aurora-dsql' && hosts.some((host) => host.startsWith(`${clusterId}.`))
      return (
        byHost.get(name) ??
        byHost.get(name.replace(/^[^.]*/, '*')) ??
        all.find(isOfCluster) ??
        unnamed(servername)
      )
    },
  }
}

function unnamed(servername: string | undefined): Refusal {
  const problem =
    servername === undefined ? 'has no server name' : 'has a server name that matches no endpoint'
  return refusal(
    'endpoint-unnamed',
    `the client's TLS handshake ${problem}`,
    fatal(
      '08004',
      `the TLS handshake ${problem}`,
      'Connect with the host name of an endpoint, or set the option "listen" of the endpoint for a separate listener.',
    ),
  )
}
