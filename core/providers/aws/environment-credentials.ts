/** The credentials in the environment, where AWS Lambda puts them. */
import type { Environment } from '../../options/common-options.js'
import type { AwsCredentials } from './credentials.js'

/**
 * The identity in `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and `AWS_CREDENTIAL_EXPIRATION`, or
 * `undefined` where one of the keys is missing, or `AWS_PROFILE` says to look elsewhere.
 *
 * The first link of the SDK's chain does just this, but the chain has to be loaded before, which takes longer than all the rest of
 * a cold start: https://docs.aws.amazon.com/sdkref/latest/guide/feature-static-credentials.html
 */
export function environmentCredentials(env: Environment): AwsCredentials | undefined {
  const accessKeyId = env['AWS_ACCESS_KEY_ID']
  const secretAccessKey = env['AWS_SECRET_ACCESS_KEY']
  const sessionToken = env['AWS_SESSION_TOKEN']
  const expiration = env['AWS_CREDENTIAL_EXPIRATION']
  if (env['AWS_PROFILE'] || !accessKeyId || !secretAccessKey) return undefined
  return {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken ? { sessionToken } : {}),
    ...(expiration ? { expiration: new Date(expiration) } : {}),
  }
}
