/** How an application gets its first token, from what its modules export. */
import type * as DsqlSigners from '@aws-sdk/dsql-signer'
import type * as Connector from '@aws/aurora-dsql-node-postgres-connector'
import type * as AzureAuth from '@azure/postgresql-auth'
import type * as Identity from '@azure/identity'
import type * as PgIam from '../../../core/index.js'
import type { TokenWay } from '../cold-start.js'

type Exported = Readonly<Record<string, unknown>>

/** Resolves when there is a token. Rejects where none came. */
export async function firstToken(way: TokenWay, exported: Exported): Promise<void> {
  const token = await WAYS[way](exported)
  if (typeof token !== 'string' || token === '') throw new Error(`no token came of "${way}"`)
}

const DSQL = { host: `${'bench'.repeat(5)}x.dsql.us-east-1.on.aws`, user: 'app' } as const
const ENTRA = { host: 'shop.postgres.database.azure.com', user: 'app' } as const

const WAYS: Readonly<Record<TokenWay, (exported: Exported) => Promise<unknown>>> = {
  async 'pg-iam, Aurora DSQL'(exported) {
    const { auroraDsql } = exported as unknown as typeof PgIam
    return (await auroraDsql(DSQL).token()).value
  },
  async 'pg-iam, Aurora DSQL, built-in signer'(exported) {
    const { auroraDsql } = exported as unknown as typeof PgIam
    return (await auroraDsql({ ...DSQL, signer: 'built-in' }).token()).value
  },
  async 'AWS connector'(exported) {
    const { AuroraDSQLClient } = exported as unknown as typeof Connector
    return new Promise((resolve, reject) => {
      const client = new AuroraDSQLClient({ ...DSQL, host: DSQL.host })
      client.on('error', () => {})
      // The connector tells nobody its token: it gives it to pg, and then dials, which is not waited for.
      Object.defineProperty(client, 'password', { set: resolve })
      client.connect().catch(reject)
    })
  },
  async 'AWS signer'(exported) {
    const { DsqlSigner } = exported as unknown as typeof DsqlSigners
    const { AWS_ACCESS_KEY_ID: accessKeyId = '', AWS_SECRET_ACCESS_KEY: secretAccessKey = '' } =
      process.env
    const credentials = { accessKeyId, secretAccessKey }
    return new DsqlSigner({
      hostname: DSQL.host,
      region: 'us-east-1',
      credentials,
    }).getDbConnectAuthToken()
  },
  async 'pg-iam, Entra ID'(exported) {
    const { entra, ManagedIdentityCredential } = exported as unknown as typeof PgIam &
      typeof Identity
    const login = entra({ ...ENTRA, credentials: new ManagedIdentityCredential() })
    return (await login.token()).value
  },
  async '@azure/postgresql-auth'(exported) {
    const { entraTokenProvider, ManagedIdentityCredential } =
      exported as unknown as typeof AzureAuth & typeof Identity
    return entraTokenProvider(new ManagedIdentityCredential())()
  },
}
