/** Endpoints of Cloud SQL for PostgreSQL: their options, and their logins. */
import {
  checkOptions,
  invalidOption,
  matching,
  oneOf,
  type Check,
} from '../../../core/options/check.js'
import { databaseUser } from '../../../core/providers/cloud-sql/user-name.js'
import { cleartextToken } from '../cleartext-token.js'
import type { CommonEndpointOptions, EndpointDefinition } from '../endpoint.js'
import { COMMON_ENDPOINT_CHECKS, requiredOption } from '../endpoint-options.js'
import { trustworthyUrl } from '../trustworthy-url.js'
import { CLOUD_SQL_ANSWERS } from './answers.js'
import { createOwnTokens } from './own-tokens.js'
import { remoteTokenInfo } from './token-info.js'
import { createCloudSqlVerifier } from './verifier.js'

export interface CloudSqlEndpoint extends CommonEndpointOptions {
  provider: 'cloud-sql'
  /**
   * The e-mail addresses of the accounts that may log in here, at least one. Each may log in as one role: its address, for a
   * service account without `.gserviceaccount.com`.
   */
  principals: readonly string[]
  /**
   * Who says whose a token is: `https://oauth2.googleapis.com/tokeninfo`, or an address of this machine that answers as that does.
   * Default: the gateway gives tokens of its own, which `gateway.login()` uses.
   */
  tokenInfo?: string
}

export const cloudSqlEndpoint: EndpointDefinition<CloudSqlEndpoint> = {
  check(value, name) {
    const given = checkOptions(value, CHECKS, `${name}.`)
    return {
      ...given,
      provider: 'cloud-sql',
      hosts: requiredOption(given.hosts, `${name}.hosts`),
      principals: requiredOption(given.principals, `${name}.principals`),
    }
  },
  roles: ({ principals }) => principals.map(databaseUser),
  create({ principals, tokenInfo }, { clock }) {
    const own = createOwnTokens(principals[0] ?? '', clock)
    const info = tokenInfo === undefined ? own.info : remoteTokenInfo(tokenInfo)
    return {
      method: cleartextToken(createCloudSqlVerifier({ info, principals, clock })),
      answers: CLOUD_SQL_ANSWERS,
      roles: principals.map(databaseUser),
      loginOptions: tokenInfo === undefined ? { credentials: own.client } : {},
    }
  },
}

const email = matching(/^[^\s@"]+@[^\s@"]+$/, 'an e-mail address')

const accounts: Check<readonly string[]> = (value, name) => {
  if (!Array.isArray(value) || value.length === 0)
    throw invalidOption(name, 'an array of at least one e-mail address', value)
  return [...new Set(value.map((item: unknown, index) => email(item, `${name}[${index}]`)))]
}

const CHECKS = {
  ...COMMON_ENDPOINT_CHECKS,
  provider: oneOf('cloud-sql'),
  principals: accounts,
  tokenInfo: trustworthyUrl,
} as const
