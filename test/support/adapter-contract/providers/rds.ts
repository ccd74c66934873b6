/** RDS for the contract: tokens signed with keys of the gateway. */
import { rds, type AwsCredentialsProvider } from '../../../../core/index.js'
import type { ContractProvider } from '../contract-provider.js'
import { AWS_FAILURES } from '../failures.js'
import { watchSignatures } from '../signed-tokens.js'
import { issueAwsKeys, permanentKeys } from './aurora-dsql.js'

const HOST = 'contract.cluster-abcdefghijkl.eu-west-1.rds.amazonaws.com'

export const rdsContract: ContractProvider = {
  name: 'rds',
  sharesTokens: true,
  refusedWith: '28000',
  failures: AWS_FAILURES,
  login: (options, request) => rds({ ...options, credentials: request as AwsCredentialsProvider }),
  start: async () => ({
    gatewayOptions: { endpoints: [{ provider: 'rds', hosts: [HOST] }] },
    options: { host: HOST, user: 'app' },
    role: 'app',
    environment: {},
    issue: issueAwsKeys,
    issueForever: permanentKeys,
    watchSecrets: watchSignatures,
    close: async () => {},
  }),
}
