/** Endpoints of RDS and Aurora PostgreSQL: their options, and their logins. */
import {
  checkOptions,
  integerWithin,
  invalidOption,
  matching,
  oneOf,
} from '../../../core/options/check.js'
import { rdsEndpoint as endpointName } from '../../../core/providers/rds/endpoint.js'
import { principalList } from '../aws/principal-options.js'
import { ownPrincipals, rolesOf, type PrincipalOptions } from '../aws/principals.js'
import { cleartextToken } from '../cleartext-token.js'
import type { CommonEndpointOptions, EndpointDefinition } from '../endpoint.js'
import { COMMON_ENDPOINT_CHECKS, requiredOption } from '../endpoint-options.js'
import { rdsAnswers } from './answers.js'
import { createRdsVerifier } from './verifier.js'

/** An instance or a cluster, or several of the same port. A principal's roles are those that were granted `rds_iam`. */
export interface RdsEndpoint extends CommonEndpointOptions {
  provider: 'rds'
  /** Endpoint names, such as `db.abc….eu-west-1.rds.amazonaws.com`; or, with `region`, any names that tokens are signed for. */
  hosts: readonly string[]
  /** The region of hosts that do not name theirs. */
  region?: string
  /** The port that tokens are made for. Clients dial another one: that of the gateway. Default 5432. */
  port?: number
  /** Who may log in here. Default: the principals of the gateway. */
  principals?: readonly PrincipalOptions[]
}

export const rdsEndpoint: EndpointDefinition<RdsEndpoint> = {
  check(value, name) {
    const given = checkOptions(value, CHECKS, `${name}.`)
    const hosts = requiredOption(given.hosts, `${name}.hosts`)
    const nowhere = hosts.find((host) => regionOf(host, given.region) === undefined)
    if (nowhere !== undefined)
      throw invalidOption(`${name}.region`, `given for "${nowhere}", which names none`, undefined)
    return { ...given, provider: 'rds', hosts }
  },
  roles: ({ principals }) => rolesOf(principals),
  create({ hosts, region, port = 5432, principals: own }, { principals: shared, clock }) {
    const principals = ownPrincipals(own, shared)
    const regions = new Map(hosts.map((host) => [host, regionOf(host, region) ?? '']))
    return {
      method: cleartextToken(createRdsVerifier({ principals, regions, port, clock })),
      answers: rdsAnswers((role) => principals.anyMayUse(role)),
      roles: principals.roles(),
      principals,
      // So that development and tests need no package of AWS.
      loginOptions: { port, credentials: principals.credentials(), signer: 'built-in' },
    }
  },
}

function regionOf(host: string, ofOthers: string | undefined): string | undefined {
  return endpointName(host)?.region ?? ofOthers
}

const CHECKS = {
  ...COMMON_ENDPOINT_CHECKS,
  provider: oneOf('rds'),
  region: matching(/^[a-z]{2,}(-[a-z0-9]+)+$/, 'the name of an AWS region'),
  port: integerWithin(1, 65_535, 'the port number'),
  principals: principalList,
} as const
