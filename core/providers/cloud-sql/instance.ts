/** The connection name of a Cloud SQL instance, as far as TLS has to do with it. */
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
