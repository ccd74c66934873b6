/** Temporary credentials, as STS gives them. */
import {
  checkOptions,
  hostName,
  integerWithin,
  invalidOption,
} from '../../../core/options/check.js'
import type { TemporaryCredentials } from './gateway-credentials.js'
import { roleNames } from '../role-names.js'
import { randomAccessKey, randomSessionToken, type Principals } from './principals.js'

export interface IssueOptions {
  /** An endpoint by one of its host names, where endpoints have principals of their own. Default: the first of AWS's. */
  host?: string
  /** The database roles that they may log in as. Default: those of the endpoint's first principal. */
  roles?: readonly string[]
  /** How long they are valid, in seconds, from 1 to 129,600 (36 hours, STS's limit). Default 3,600. */
  durationSecs?: number
}

/** @param principalsOf the principals of the endpoint with this host, or of the first; `undefined` where it has none */
export function issueTemporaryCredentials(
  principalsOf: (host: string | undefined) => Principals | undefined,
  clock: () => number,
  options: IssueOptions,
): TemporaryCredentials {
  const {
    host,
    roles,
    durationSecs = 3_600,
  } = checkOptions(options, {
    host: hostName,
    roles: roleNames,
    durationSecs: integerWithin(1, 129_600, 'seconds'),
  })
  const principals = principalsOf(host)
  if (principals === undefined)
    throw invalidOption('host', 'a host of one of the AWS endpoints of this gateway', host)
  const identity = {
    ...randomAccessKey('ASIA'),
    sessionToken: randomSessionToken(),
    roles: roles ?? principals.roles(),
  }
  return principals.add(identity, clock() + durationSecs * 1000) as TemporaryCredentials
}
