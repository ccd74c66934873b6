/** Logins to a running gateway. */
import type { Login } from '../core/login.js'
import { isPlainObject } from '../core/options/check.js'
import { auroraDsql, type AuroraDsqlOptions } from '../core/providers/aurora-dsql.js'
import type { GatewayCredentials } from './auth/gateway-credentials.js'

export interface GatewayLoginSettings {
  cluster: string
  roles: readonly string[]
  database: string
  credentials: GatewayCredentials
  ca: string
  address: { readonly host: string; readonly port: number }
}

/** Returns a login to the gateway; what the caller gives beats what the gateway would choose. */
export function gatewayLogin(settings: GatewayLoginSettings, own: AuroraDsqlOptions): Login {
  // Let the one place that checks these options refuse what is none.
  if (!isPlainObject(own)) return auroraDsql(own)
  const given = Object.fromEntries(
    Object.entries(own).filter(([, value]) => value !== undefined),
  ) as AuroraDsqlOptions
  const names = (...keys: (keyof AuroraDsqlOptions)[]): boolean => keys.some((key) => key in given)
  const { cluster, database, credentials, ca, address } = settings
  return auroraDsql({
    host: cluster,
    database,
    connectTo: address,
    ...(names('user', 'username') ? {} : { user: defaultRole(settings) }),
    ...(names('credentials', 'customCredentialsProvider', 'profile') ? {} : { credentials }),
    ...given,
    tls: given.tls === undefined || isPlainObject(given.tls) ? { ca, ...given.tls } : given.tls,
  })
}

/** The gateway is for applications, which do not log in as the administrator. */
function defaultRole({ roles }: GatewayLoginSettings): string {
  if (roles.includes('app')) return 'app'
  return roles.find((role) => role !== 'admin') ?? 'admin'
}
