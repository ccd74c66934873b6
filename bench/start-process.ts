/**
 * A process that starts cold: it loads modules, gets a first token or starts a gateway, and prints the durations.
 *
 * It must not load anything else before, because modules shared with a competitor would then be free for it.
 */
import type * as DsqlSigners from '@aws-sdk/dsql-signer'
import type * as Connector from '@aws/aurora-dsql-node-postgres-connector'
import type * as AzureAuth from '@azure/postgresql-auth'
import type * as Identity from '@azure/identity'
import type * as PgIam from '../core/index.js'
import type * as GatewayModule from '../gateway/index.js'

export interface ColdStartOrder {
  /** The packages, or files of bundles. */
  readonly modules: readonly string[]
  readonly token?: keyof typeof TOKENS
  /** Additional options of the login. */
  readonly options?: object
  /** The options of a gateway to start instead. */
  readonly gateway?: object
}

export interface ColdStart {
  /** The durations of the imports and of the work after them. */
  readonly ms: number
  /** Why there is no token or gateway, if there is none. */
  readonly failed?: string
}

type Exported = Readonly<Record<string, unknown>>

const DSQL = { host: `${'bench'.repeat(5)}x.dsql.us-east-1.on.aws`, user: 'app' } as const
const ENTRA = { host: 'shop.postgres.database.azure.com', user: 'app' } as const

const TOKENS = {
  async 'pg-iam, Aurora DSQL'(exported: Exported, options: object) {
    const { auroraDsql } = exported as unknown as typeof PgIam
    return (await auroraDsql({ ...DSQL, ...options }).token()).value
  },
  async 'AWS connector'(exported: Exported) {
    const { AuroraDSQLClient } = exported as unknown as typeof Connector
    return new Promise<unknown>((resolve, reject) => {
      const client = new AuroraDSQLClient({ ...DSQL })
      client.on('error', () => {})
      // The connector does not expose its token: it passes it to pg, and then connects, which is not awaited.
      Object.defineProperty(client, 'password', { set: resolve })
      client.connect().catch(reject)
    })
  },
  async 'AWS signer'(exported: Exported) {
    const { DsqlSigner } = exported as unknown as typeof DsqlSigners
    const { AWS_ACCESS_KEY_ID: accessKeyId = '', AWS_SECRET_ACCESS_KEY: secretAccessKey = '' } =
      process.env
    const credentials = { accessKeyId, secretAccessKey }
    const settings = { hostname: DSQL.host, region: 'us-east-1', credentials }
    return new DsqlSigner(settings).getDbConnectAuthToken()
  },
  async 'pg-iam, Entra ID'(exported: Exported) {
    const { entra, ManagedIdentityCredential } = exported as unknown as typeof PgIam &
      typeof Identity
    const login = entra({ ...ENTRA, credentials: new ManagedIdentityCredential() })
    return (await login.token()).value
  },
  async '@azure/postgresql-auth'(exported: Exported) {
    const { entraTokenProvider, ManagedIdentityCredential } =
      exported as unknown as typeof AzureAuth & typeof Identity
    return entraTokenProvider(new ManagedIdentityCredential())()
  },
}

const { modules, token, options = {}, gateway } = JSON.parse(process.argv[2]!) as ColdStartOrder
const startedAt = performance.now()
const exported: Record<string, unknown> = {}
for (const name of modules)
  Object.assign(exported, await import(name.startsWith('/') ? `file://${name}` : name))
let failed: string | undefined
if (token !== undefined) {
  const made = await TOKENS[token](exported, options)
  if (typeof made !== 'string' || made === '') failed = `no token came of "${token}"`
} else if (gateway !== undefined) {
  const entry = 'pg-iam/gateway'
  const { startGateway } = (await import(entry)) as typeof GatewayModule
  await startGateway(gateway).catch((error: unknown) => {
    failed = String(error)
  })
}
const endedAt = performance.now()
const times: ColdStart = {
  ms: endedAt - startedAt,
  ...(failed === undefined ? {} : { failed }),
}
// Clients, connections and gateways that were started are not awaited.
process.stdout.write(JSON.stringify(times), () => process.exit())
