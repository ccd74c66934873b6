/** Temporary credentials, as STS gives them. */
import { checkOptions, integerWithin } from '../../core/options/check.js'
import type { TemporaryCredentials } from './gateway-credentials.js'
import { roleNames } from './principal-options.js'
import { randomAccessKey, randomSessionToken, type Principals } from './principals.js'

export interface IssueOptions {
  /** The database roles that they may log in as. Default: those of the first principal. */
  roles?: readonly string[]
  /** How long they are valid, in seconds, from 1 to 129,600 (36 hours, STS's limit). Default 3,600. */
  durationSecs?: number
}

export function issueTemporaryCredentials(
  principals: Principals,
  defaultRoles: readonly string[],
  clock: () => number,
  options: IssueOptions,
): TemporaryCredentials {
  const { roles = defaultRoles, durationSecs = 3_600 } = checkOptions(options, {
    roles: roleNames,
    durationSecs: integerWithin(1, 129_600, 'seconds'),
  })
  const identity = { ...randomAccessKey('ASIA'), sessionToken: randomSessionToken(), roles }
  return principals.add(identity, clock() + durationSecs * 1000) as TemporaryCredentials
}
