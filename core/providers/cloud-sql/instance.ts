/** The connection name of a Cloud SQL instance, as far as TLS has to do with it. */
import { PgIamError } from '../../errors.js'
import { invalidOption, type Check } from '../../options/check.js'

/**
 * Checks `PROJECT:REGION:INSTANCE` (a project may be `DOMAIN:PROJECT`) and returns `PROJECT:INSTANCE`: the common name in the
 * server certificate of an instance with a certificate authority of its own, which holds no host name. Google's connectors
 * verify the same:
 * https://github.com/GoogleCloudPlatform/cloud-sql-nodejs-connector/blob/main/src/socket.ts
 */
export const instanceName: Check<string> = (value, name) => {
  const [, project, instance] = typeof value === 'string' ? (CONNECTION_NAME.exec(value) ?? []) : []
  if (project === undefined || instance === undefined)
    throw invalidOption(name, 'a connection name, PROJECT:REGION:INSTANCE', value)
  return `${project}:${instance}`
}

const CONNECTION_NAME = /^((?:[a-z0-9.-]+:)?[a-z][a-z0-9-]*):[a-z0-9-]+:([a-z][a-z0-9-]*)$/

/**
 * Refuses what is the name of an instance in the place of its address, also as the path of the socket that Google's runtimes and its
 * Auth Proxy make for it. Throws `ERR_OPTION_INVALID`.
 */
export function refuseInstanceName(host: unknown, name: string): void {
  if (typeof host !== 'string') return
  const connectionName = host.replace(/^\/cloudsql\//, '')
  if (!CONNECTION_NAME.test(connectionName)) return
  throw new PgIamError(
    'ERR_OPTION_INVALID',
    `"${name}" must be the IP address or the DNS name of the instance, got its connection name`,
    {
      hint: `Give cloudSql() the connection name as "instance", and the address as "host": { host: "10.0.0.3", instance: "${connectionName}" }. A Unix-domain socket has no TLS, so no token is sent over one.`,
    },
  )
}
