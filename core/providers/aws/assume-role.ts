/** Roles that are taken on by STS, one with the credentials of the other. */
import {
  checkOptions,
  integerWithin,
  invalidOption,
  matching,
  oneOrMore,
  type Check,
} from '../../options/check.js'
import type { NonEmpty } from '../../non-empty.js'
import type { AwsCredentialsProvider } from './credentials.js'
import { loadCredentialProviders } from './load-credential-providers.js'
import { withoutRequest } from './without-request.js'

/** A role to take on with the credentials, by STS. */
export interface AssumeRoleOptions {
  roleArn: string
  externalId?: string
  /** Default: a name of `pg-iam` and the process ID. */
  sessionName?: string
  /** Life of the role's credentials, in seconds, from 900 to 43,200, or to 3,600 where another role takes it on. Default 3,600. */
  durationSecs?: number
}

/**
 * Returns a provider of the credentials of `role`.
 *
 * The SDK's own is made anew for each call: its STS client would keep the first credentials that it got, for ever where they name
 * no end, also when STS has come to refuse them.
 */
export function assumedRole(
  base: AwsCredentialsProvider,
  role: AssumeRoleOptions,
  region: string | undefined,
): AwsCredentialsProvider {
  return async () => {
    const { fromTemporaryCredentials } = await loadCredentialProviders()
    const assume = fromTemporaryCredentials({
      masterCredentials: async () => base(),
      clientConfig: region === undefined ? {} : { region },
      params: {
        RoleArn: role.roleArn,
        // The SDK needs a name; it makes one of its own only where the whole field is missing.
        RoleSessionName: role.sessionName ?? `pg-iam-${process.pid}`,
        ...(role.externalId === undefined ? {} : { ExternalId: role.externalId }),
        ...(role.durationSecs === undefined ? {} : { DurationSeconds: role.durationSecs }),
      },
    })
    return withoutRequest(assume())
  }
}

/** The `assumeRole` option: a role, or a chain of them. */
export const assumeRole: Check<NonEmpty<AssumeRoleOptions>> = (value, name) => {
  const roles = oneOrMore(role)(value, name)
  for (const [index, { durationSecs }] of roles.entries()) {
    if (index > 0 && durationSecs !== undefined && durationSecs > LONGEST_CHAINED_SECS) {
      throw invalidOption(
        `${name}[${index}].durationSecs`,
        `at most ${LONGEST_CHAINED_SECS} seconds for a role that another one takes on`,
        durationSecs,
      )
    }
  }
  return roles
}

/** AWS's limit to chained roles: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html */
const LONGEST_CHAINED_SECS = 3_600

const role: Check<AssumeRoleOptions> = (value, name) => {
  const { roleArn, ...rest } = checkOptions(value, ROLE_CHECKS, `${name}.`)
  if (roleArn === undefined) throw invalidOption(`${name}.roleArn`, ROLE_ARN, undefined)
  return { roleArn, ...rest }
}

const ROLE_ARN = 'the ARN of a role'

// The forms are those of https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
const ROLE_CHECKS = {
  roleArn: matching(/^arn:[\w-]+:iam::\d{12}:role\/[\u0021-\u007e]+$/, ROLE_ARN),
  externalId: matching(/^[\w+=,.@:/-]{2,1224}$/, '2 to 1224 letters, digits or +=,.@:/-'),
  sessionName: matching(/^[\w+=,.@-]{2,64}$/, '2 to 64 letters, digits or +=,.@-'),
  durationSecs: integerWithin(900, 43_200, 'seconds'),
} as const
