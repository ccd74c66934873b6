/** A gateway as Aurora DSQL and RDS, and on demand as Azure, and the environment in which the command finds it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type EntraEndpoint,
  type Gateway,
  type GatewayOptions,
  startGateway,
} from '../../../gateway/index.js'
import { OBJECT_ID } from '../../support/issuers/entra-claims.js'
import type { EntraIssuer } from '../../support/issuers/entra-issuer.js'

export const DSQL_HOST = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
export const RDS_HOST = 'shop.cluster-c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'
export const ENTRA_HOST = 'shop.postgres.database.azure.com'

export const DSQL_URL = `postgres://app@${DSQL_HOST}/postgres`
export const RDS_URL = `postgres://app@${RDS_HOST}/postgres`
export const ENTRA_URL = `postgres://app@${ENTRA_HOST}/postgres`

/** What {@link startDatabases} serves by default. */
export const AWS_ENDPOINTS = [
  { provider: 'aurora-dsql', hosts: [DSQL_HOST] },
  { provider: 'rds', hosts: [RDS_HOST] },
] as const satisfies GatewayOptions['endpoints']

/** An Azure Database for PostgreSQL that trusts the issuer. */
export function entraEndpoint({ tenantId, keys }: EntraIssuer): EntraEndpoint {
  return {
    provider: 'entra',
    hosts: [ENTRA_HOST],
    tenantId,
    jwks: () => keys.published(),
    principals: [{ objectId: OBJECT_ID, roles: ['app'] }],
  }
}

export interface CommandDatabases {
  readonly gateway: Gateway
  /** A folder for files of the tests, with the authority of the gateway in `ca.pem`. */
  readonly folder: string
  /** The environment of a command that logs in: credentials, authority, and the address to dial. */
  readonly env: Readonly<Record<string, string>>
  close(): Promise<void>
}

export async function startDatabases(options: GatewayOptions = {}): Promise<CommandDatabases> {
  const gateway = await startGateway({
    endpoints: AWS_ENDPOINTS,
    ...options,
  })
  const folder = mkdtempSync(join(tmpdir(), 'pg-iam-cli-'))
  const ca = join(folder, 'ca.pem')
  writeFileSync(ca, gateway.ca)
  const { accessKeyId, secretAccessKey } = gateway.credentials
  return {
    gateway,
    folder,
    env: {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      PGSSLROOTCERT: ca,
      PG_IAM_CONNECT_TO: `127.0.0.1:${gateway.port}`,
    },
    async close() {
      await gateway.close()
      rmSync(folder, { recursive: true })
    },
  }
}
