/** Options of an Aurora DSQL login that is right in every respect, for tests to change one of. */
import type { AwsCredentials } from '../../../core/index.js'

export const CLUSTER_ID = 'abcdefghijklmnopqrstuvwx12'
export const REGION = 'us-east-1'
export const HOST: string = `${CLUSTER_ID}.dsql.${REGION}.on.aws`

/** The key pair that AWS uses in its documentation. */
export const CREDENTIALS: AwsCredentials = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
}

export const OPTIONS = { host: HOST, user: 'app', credentials: CREDENTIALS } as const
