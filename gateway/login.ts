/** Logins to a running gateway. */
import { PgIamError } from '../core/errors.js'
import type { Login } from '../core/login.js'
import { describeValue, isPlainObject, withoutUndefined } from '../core/options/check.js'
import { auroraDsql, type AuroraDsqlOptions } from '../core/providers/aurora-dsql.js'
import { cloudSql, type CloudSqlOptions } from '../core/providers/cloud-sql/cloud-sql.js'
import { customLogin, type CustomLoginOptions } from '../core/providers/custom.js'
import { entra, type EntraOptions } from '../core/providers/entra/entra.js'
import { rds, type RdsOptions } from '../core/providers/rds/rds.js'
import { redshift, type RedshiftOptions } from '../core/providers/redshift/redshift.js'
import type { Endpoint, EndpointProvider } from './auth/endpoint.js'

/** The options of the login function of the endpoint's provider. */
export type GatewayLoginOptions =
  | AuroraDsqlOptions
  | RdsOptions
  | RedshiftOptions
  | EntraOptions
  | CloudSqlOptions
  | Partial<CustomLoginOptions>

interface GatewayLoginSettings {
  endpoints: readonly Endpoint[]
  roles: readonly string[]
  database: string
  ca: string
  /** The URL of the gateway's API, if it has one. */
  awsEndpointUrl: string | undefined
  addressOf: (endpoint: Endpoint) => { readonly host: string; readonly port: number }
}

/** The login function of each provider that has one. */
const LOGIN_FUNCTIONS: { readonly [P in EndpointProvider]?: (options: never) => Login } = {
  'aurora-dsql': auroraDsql,
  rds,
  redshift,
  entra,
  'cloud-sql': cloudSql,
  password: customLogin,
}

/** Returns a login to the gateway. The caller's options override the gateway's defaults. */
export function gatewayLogin(settings: GatewayLoginSettings, own: GatewayLoginOptions): Login {
  const isObject = isPlainObject(own)
  const given: Record<string, unknown> = isObject ? withoutUndefined(own) : {}
  const endpoint = chosenEndpoint(settings, given['host'])
  const createLogin = LOGIN_FUNCTIONS[endpoint.provider] as
    ((options: unknown) => Login) | undefined
  if (createLogin === undefined) throw noLogin(endpoint)
  if (given['host'] === undefined && endpoint.hosts[0]?.startsWith('*'))
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"host" must be given: the endpoint has the hosts ${endpoint.hosts[0]}`,
    )
  // The login function validates its options, and rejects anything that is not an object.
  if (!isObject) return createLogin(own)
  const names = (...keys: string[]): boolean => keys.some((key) => key in given)
  const { credentials, ...others } = endpoint.loginOptions
  const namesCredentials = names('credentials', 'customCredentialsProvider', 'profile')
  const { tls } = given
  return createLogin({
    ...others,
    ...(credentials === undefined || namesCredentials ? {} : { credentials }),
    host: endpoint.hosts[0],
    database: settings.database,
    connectTo: settings.addressOf(endpoint),
    ...(endpoint.provider === 'redshift'
      ? { apiEndpoint: settings.awsEndpointUrl }
      : names('user', 'username')
        ? {}
        : { user: defaultRole(endpoint, settings) }),
    ...given,
    tls:
      tls === undefined || isPlainObject(tls)
        ? { ...(settings.ca === '' ? {} : { ca: settings.ca }), ...tls }
        : tls,
  })
}

/** The endpoint that has the host, or the first endpoint with a login function if no host is given. */
function chosenEndpoint({ endpoints }: GatewayLoginSettings, host: unknown): Endpoint {
  const name: unknown = Array.isArray(host) ? host[0] : host
  const wanted = typeof name === 'string' ? name.toLowerCase().replace(/\.$/, '') : undefined
  const named =
    endpoints.find(({ hosts }) => wanted !== undefined && hosts.includes(wanted)) ??
    endpoints.find(({ hosts }) => hosts.includes(wanted?.replace(/^[^.]*/, '*') ?? ''))
  if (wanted !== undefined && named === undefined) {
    const known = endpoints.flatMap(({ hosts }) => hosts)
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"host" must be a host of an endpoint of the gateway, got ${describeValue(name)}`,
      { hint: `The gateway has ${known.join(', ')}.` },
    )
  }
  return (
    named ??
    endpoints.find(({ provider }) => LOGIN_FUNCTIONS[provider] !== undefined) ??
    endpoints[0]!
  )
}

function noLogin({ provider, hosts }: Endpoint): PgIamError {
  return new PgIamError(
    'ERR_OPTION_INVALID',
    `a login for ${hosts[0]} cannot be created: an endpoint of provider "${provider}" uses no tokens`,
    {
      hint: 'Configure the client with the host and port from gateway.endpoints and with gateway.ca.',
    },
  )
}

/** Prefers a role other than `admin`, because applications should not log in as the administrator. */
function defaultRole(endpoint: Endpoint, { roles }: GatewayLoginSettings): string {
  const usable = endpoint.roles.filter((role) => roles.includes(role))
  const candidates = usable.length > 0 ? usable : roles
  if (candidates.includes('app')) return 'app'
  return candidates.find((role) => role !== 'admin') ?? 'admin'
}
