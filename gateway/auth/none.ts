/** Endpoints without authentication, like PostgreSQL's method `trust`. TLS is still required. */
import { checkOptions, oneOf } from '../../core/options/check.js'
import {
  COMMON_ENDPOINT_CHECKS,
  type CommonEndpointOptions,
  type EndpointDefinition,
  requiredOption,
} from './endpoint.js'
import { POSTGRES_ERRORS } from './refusal.js'
import { accepted } from './verifier.js'

export interface NoneEndpoint extends CommonEndpointOptions {
  /** Every existing role may log in without a password. */
  provider: 'none'
}

export const noneEndpoint: EndpointDefinition<NoneEndpoint> = {
  check(value, name) {
    const given = checkOptions(value, CHECKS, `${name}.`)
    return { ...given, provider: 'none', hosts: requiredOption(given.hosts, `${name}.hosts`) }
  },
  roles: () => [],
  create: () => ({
    method: { authenticate: ({ role }) => accepted(role) },
    errors: POSTGRES_ERRORS,
    roles: [],
    loginOptions: {},
  }),
}

const CHECKS = { ...COMMON_ENDPOINT_CHECKS, provider: oneOf('none') } as const
