/** A gateway as Aurora DSQL, RDS and Entra ID, and the environment in which the command finds it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Gateway, type GatewayOptions, startGateway } from '../../../gateway/index.js'

export const DSQL_HOST = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
export const RDS_HOST = 'shop.cluster-c1a2b3c4d5e6.eu-west-1.rds.amazonaws.com'

export const DSQL_URL = `postgres://app@${DSQL_HOST}/postgres`
export const RDS_URL = `postgres://app@${RDS_HOST}/postgres`

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
    endpoints: [
      { provider: 'aurora-dsql', hosts: [DSQL_HOST] },
      { provider: 'rds', hosts: [RDS_HOST] },
    ],
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
