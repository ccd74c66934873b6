/** Aurora DSQL for the contract: tokens signed with keys of the gateway. */
import {
  auroraDsql,
  type AwsCredentials,
  type AwsCredentialsProvider,
} from '../../../../core/index.js'
import type { AuroraDsqlEndpoint, Gateway } from '../../../../gateway/index.js'
import type { ContractProvider, Issued, Life } from '../contract-provider.js'
import { AWS_FAILURES } from '../failures.js'
import { watchSignatures } from '../signed-tokens.js'

const HOST = 'contract0000000000000000ab.dsql.us-east-1.on.aws'
const PLAIN_HOST = 'contract0000000000000000pg.dsql.us-east-1.on.aws'

/** With the SQL of Aurora DSQL. */
export const auroraDsqlContract: ContractProvider = contractFor({
  options: { host: HOST, user: 'app' },
  endpoint: { provider: 'aurora-dsql', hosts: [HOST] },
})

/** With the SQL of PostgreSQL, for what clients do with features that Aurora DSQL does not have. */
export const plainDsqlContract: ContractProvider = contractFor({
  options: { host: PLAIN_HOST, user: 'app' },
  endpoint: { provider: 'aurora-dsql', hosts: [PLAIN_HOST], sql: 'postgres' },
})

function contractFor({
  options,
  endpoint,
}: {
  options: { host: string; user: string }
  endpoint: AuroraDsqlEndpoint
}): ContractProvider {
  return {
    name: 'aurora-dsql',
    sharesTokens: false,
    refusedWith: '08006',
    failures: AWS_FAILURES,
    login: (options, request) =>
      auroraDsql({ ...options, credentials: request as AwsCredentialsProvider }),
    start: async () => ({
      gatewayOptions: { endpoints: [endpoint] },
      options,
      role: 'app',
      environment: {},
      issue: issueAwsKeys,
      issueForever: permanentKeys,
      watchSecrets: watchSignatures,
      close: async () => {},
    }),
  }
}

/** Temporary credentials, as from STS. */
export async function issueAwsKeys(gateway: Gateway, life: Life): Promise<Issued> {
  const issued = gateway.issueCredentials(life)
  return {
    given: issued,
    revoke: () => void gateway.revokeCredentials(issued.accessKeyId),
    secrets: [issued.secretAccessKey, issued.sessionToken],
  }
}

/** The credentials of the gateway's first principal, as a plain object, because their secret properties are hidden from JSON. */
export async function permanentKeys({ credentials }: Gateway): Promise<AwsCredentials> {
  const { accessKeyId, secretAccessKey } = credentials
  return { accessKeyId, secretAccessKey }
}
