/** The logins of the emulated providers, for `handleConnection`. */
import { PgIamError } from '../../core/errors.js'
import { SILENT } from '../../core/events.js'
import { checkOptions, functionOf } from '../../core/options/check.js'
import type { ConnectionAuth } from '../connection/connection-options.js'
import { takeClusterId } from './aurora-dsql.js'
import { createPrincipals, randomAccessKey } from './aws.js'
import {
  createEndpoint,
  endpointOptions,
  type EndpointOptions,
  namesSubjects,
} from './endpoints.js'

export interface IamAuthOptions {
  /** Returns the current time, in epoch milliseconds. Default `Date.now`. */
  clock?: () => number
}

/**
 * Returns an authentication that verifies tokens as a cloud provider does, for the option `auth` of `handleConnection`. Clients are refused
 * with the provider's errors.
 *
 * Exported from `'pg-iam/gateway'`.
 *
 * @param endpoint as an entry of the option `endpoints` of `startGateway`, without `listen`. `aurora-dsql` and `rds` need `principals`.
 * @throws PgIamError `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT` for invalid, unknown or missing options.
 */
export function iamAuth(endpoint: EndpointOptions, options: IamAuthOptions = {}): ConnectionAuth {
  const { clock = Date.now } = checkOptions(options, { clock: functionOf<() => number>() })
  const checked = endpointOptions(endpoint, 'endpoint')
  if (checked.provider === 'redshift')
    throw new PgIamError('ERR_OPTION_INVALID', '"endpoint.provider" must not be "redshift"', {
      hint: 'Its passwords are issued by the API of startGateway(). For passwords of yours use provider: "password".',
    })
  const isAws = checked.provider === 'aurora-dsql' || checked.provider === 'rds'
  if (isAws && checked.principals === undefined)
    throw new PgIamError('ERR_OPTION_INVALID', '"endpoint.principals" must be given', {
      hint: 'A principal is an access key with its roles: { accessKeyId, secretAccessKey, roles: [...] }.',
    })
  if (namesSubjects([checked]))
    throw new PgIamError('ERR_OPTION_CONFLICT', '"endpoint.principals" must not have a "subject"', {
      hint: 'Roles are assumed through the API of startGateway().',
    })
  for (const name of ['listen', 'upstream', 'maxConnections', 'queueTimeoutMs'])
    if (Object.hasOwn(checked, name))
      throw new PgIamError('ERR_OPTION_CONFLICT', `"endpoint.${name}" must not be given`, {
        hint: 'It is an option of startGateway(), which listens and opens the sessions.',
      })
  // The engine of the caller may be no PostgreSQL, so DSQL mode must be asked for.
  const own =
    checked.provider === 'aurora-dsql' ? { sql: 'postgres' as const, ...checked } : checked
  const { provider, method, errors, prepare, rules } = createEndpoint(own, {
    // Never used: the endpoint has its own.
    principals: createPrincipals([{ ...randomAccessKey('AKIA'), roles: [] }]),
    clock,
    logger: SILENT,
  })
  return {
    provider,
    errors,
    ...(rules && { rules }),
    async authenticate(request, client) {
      await prepare?.()
      const { clusterId } = takeClusterId(request.parameters ?? new Map())
      return method.authenticate({ ...request, clusterId }, client)
    },
  }
}
