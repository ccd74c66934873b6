/** Tokens of one login. */
import { DsqlSigner } from '@aws-sdk/dsql-signer'
import { auroraDsql, entra, rds } from '../../../core/index.js'
import { CREDENTIALS } from '../../frame/surroundings.js'
import type { TokenKind } from '../growth.js'
import type { Work } from './work.js'

/** One after another, each a new one. */
export function tokenWork(kind: TokenKind): Work {
  const make = MAKERS[kind]()
  return async (times) => {
    for (let made = 0; made < times; made++) await make()
  }
}

const REGION = 'us-east-1'
const DSQL_HOST = `${'bench'.repeat(5)}x.dsql.${REGION}.on.aws`
const USER = 'app'
const credentials = async (): Promise<typeof CREDENTIALS> => CREDENTIALS

const MAKERS: Readonly<Record<TokenKind, () => () => Promise<unknown>>> = {
  'pg-iam, Aurora DSQL': () => auroraDsql({ host: DSQL_HOST, user: USER, credentials }).token,
  "the AWS SDK's signer, Aurora DSQL": () => {
    const signer = new DsqlSigner({ hostname: DSQL_HOST, region: REGION, credentials })
    return () => signer.getDbConnectAuthToken()
  },
  'pg-iam, RDS': () => {
    const host = `shop.abcdefghijkl.${REGION}.rds.amazonaws.com`
    return rds({ host, user: USER, credentials, reuseTokenSecs: 0 }).token
  },
  'pg-iam, Entra ID': () => {
    const host = 'shop.postgres.database.azure.com'
    return entra({ host, user: USER, credentials: () => AZURE_CREDENTIAL, reuseTokenSecs: 0 }).token
  },
}

const HOUR_MS = 3_600_000
let asked = 0

/** Gives another token each time, as long as those of Entra ID. */
const AZURE_CREDENTIAL = {
  getToken: async () => ({
    token: `${'token'.repeat(300)}${asked++}`,
    expiresOnTimestamp: Date.now() + HOUR_MS,
  }),
}
