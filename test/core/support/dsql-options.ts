/** Valid options of an Aurora DSQL login, for tests to change one of them. */
import type { AwsCredentials } from '../../../core/index.js'

export const CLUSTER_ID = 'abcdefghijklmnopqrstuvwx12'
export const REGION = 'us-east-1'
export const HOST: string = `${CLUSTER_ID}.dsql.${REGION}.on.aws`

/** The key pair of AWS's documentation. */
export const CREDENTIALS: AwsCredentials = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
}

export const OPTIONS = { host: HOST, user: 'app', credentials: CREDENTIALS } as const
