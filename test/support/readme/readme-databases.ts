/** All databases of the README's programs, on one gateway, with emulations of their identity providers. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startGateway } from '../../../gateway/index.js'
import { startRedshiftApi } from '../aws/redshift-api.js'
import { AUDIENCE, OBJECT_ID, TENANT, userAssignedIdentity } from '../issuers/entra-claims.js'
import { startEntraIssuer } from '../issuers/entra-issuer.js'
import { startGceMetadata } from '../issuers/gce-metadata.js'
import { startGoogleTokenInfo } from '../issuers/google-token-info.js'
import { createGoogleTokens } from '../issuers/google-tokens.js'
import { startManagedIdentity } from '../issuers/managed-identity.js'

export interface ReadmeDatabases {
  /** The environment variables of a program's process. */
  readonly env: NodeJS.ProcessEnv
  close(): Promise<void>
}

const ACCOUNT = 'app@shop.iam.gserviceaccount.com'
const WAREHOUSE_USER = 'IAMR:app'

/**
 * @param folder the directory for files of the programs
 * @param sql the SQL of Aurora DSQL's endpoint
 */
export async function startReadmeDatabases(
  folder: string,
  sql: 'aurora-dsql' | 'postgres' = 'aurora-dsql',
): Promise<ReadmeDatabases> {
  const issuer = await startEntraIssuer()
  const identity = await startManagedIdentity(issuer, () => ({
    aud: AUDIENCE,
    xms_mirid: userAssignedIdentity('app'),
  }))
  const tokens = createGoogleTokens()
  const metadata = await startGceMetadata({ tokens, email: ACCOUNT })
  const tokenInfo = await startGoogleTokenInfo(tokens)
  const redshift = await startRedshiftApi(() => ({
    user: WAREHOUSE_USER,
    password: 'of the warehouse',
    expiration: new Date(Date.now() + 900_000),
  }))
  const gateway = await startGateway({
    sql,
    roles: ['app', 'app@shop.iam', WAREHOUSE_USER],
    endpoints: [
      {
        provider: 'aurora-dsql',
        hosts: ['abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'],
      },
      { provider: 'rds', hosts: ['shop.cluster-c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'] },
      {
        provider: 'entra',
        hosts: ['shop.postgres.database.azure.com'],
        tenantId: TENANT,
        jwks: () => issuer.keys.published(),
        principals: [{ objectId: OBJECT_ID, roles: ['app'] }],
      },
      {
        provider: 'cloud-sql',
        hosts: ['a1b2c3d4e5f6.g7h8i9j0k1l2.europe-west1.sql.goog'],
        principals: [ACCOUNT],
        tokenInfo: tokenInfo.url,
      },
      {
        provider: 'password',
        hosts: ['warehouse.c1a2b3c4d5e6.eu-west-1.redshift.amazonaws.com'],
        method: 'md5',
        users: { [WAREHOUSE_USER]: 'of the warehouse' },
      },
      {
        provider: 'password',
        hosts: ['db.example.com'],
        users: { app: 'of the broker' },
      },
    ],
  })
  writeFileSync(join(folder, 'ca.pem'), gateway.ca)
  writeFileSync(join(folder, 'token'), 'of the broker')
  const { accessKeyId, secretAccessKey } = gateway.credentials
  return {
    env: {
      PATH: process.env['PATH'],
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
      ...redshift.env,
      ...identity.env,
      ...metadata.env,
      TOKEN_FILE: join(folder, 'token'),
      GATEWAY_PORT: String(gateway.port),
      PGDATABASE: 'postgres',
      PGSSLROOTCERT: join(folder, 'ca.pem'),
    },
    async close() {
      await gateway.close()
      await Promise.all([issuer, identity, metadata, tokenInfo, redshift].map((one) => one.close()))
    },
  }
}
