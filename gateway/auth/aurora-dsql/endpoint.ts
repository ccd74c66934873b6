/** Endpoints of Aurora DSQL: their options, and their logins. */
import { dsqlRegion } from '../../../core/providers/aurora-dsql/host.js'
import {
  checkOptions,
  hostName,
  invalidOption,
  oneOf,
  type Check,
} from '../../../core/options/check.js'
import { principalList } from '../aws/principal-options.js'
import { ownPrincipals, rolesOf, type PrincipalOptions } from '../aws/principals.js'
import { cleartextToken } from '../cleartext-token.js'
import type { CommonEndpointOptions, EndpointDefinition } from '../endpoint.js'
import { COMMON_ENDPOINT_CHECKS, hostList, requiredOption } from '../endpoint-options.js'
import { AURORA_DSQL_ANSWERS } from './answers.js'
import { REPEATABLE_READ_ONLY } from './isolation.js'
import { createAuroraDsqlVerifier } from './verifier.js'

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
      answers: AURORA_DSQL_ANSWERS,
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
