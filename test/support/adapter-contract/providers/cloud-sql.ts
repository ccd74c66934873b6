/** Cloud SQL for the contract: access tokens that a local emulation of Google's tokeninfo endpoint resolves. */
import { cloudSql, type GoogleAuthClient } from '../../../../core/index.js'
import { startGoogleTokenInfo } from '../../issuers/google-token-info.js'
import { createGoogleTokens } from '../../issuers/google-tokens.js'
import type {
  ContractProvider,
  Issued,
  Life,
  ProviderStand,
  Request,
} from '../contract-provider.js'
import { failuresOf } from '../failures.js'

const HOST = 'abcdef012345.abcdefghijkl.europe-west1.sql.goog'
const ACCOUNT = 'app@contract.iam.gserviceaccount.com'
const ROLE = 'app@contract.iam'

interface GivenToken {
  token: string
  expiresAt: number
}

export const cloudSqlContract: ContractProvider = {
  name: 'cloud-sql',
  sharesTokens: true,
  refusedWith: '28000',
  failures: [
    ...failuresOf('ERR_TOKEN_REQUEST_FAILED'),
    {
      name: 'returns no token',
      fail: () => ({ token: null, expiresAt: Date.now() + 60_000 }),
      hasOriginal: false,
      code: 'ERR_TOKEN_INVALID',
    },
    {
      name: 'returns an expired token',
      fail: () => ({ token: 'ended', expiresAt: 1 }),
      hasOriginal: false,
      code: 'ERR_TOKEN_INVALID',
    },
  ],
  login: (options, request) => cloudSql({ ...options, credentials: clientOf(request) }),
  start: startStand,
}

/** Like Google's auth clients, it returns the expiry separately from the token. */
function clientOf(request: Request): GoogleAuthClient {
  const credentials: { expiry_date?: number } = {}
  return {
    credentials,
    async getAccessToken() {
      const { token, expiresAt } = (await request()) as GivenToken
      credentials.expiry_date = expiresAt
      return { token }
    },
  }
}

async function startStand(): Promise<ProviderStand> {
  const now = (): number => Date.now()
  const tokens = createGoogleTokens(now)
  const info = await startGoogleTokenInfo(tokens, now)
  const given: string[] = []

  const issue = async (_gateway: unknown, { durationSecs }: Life): Promise<Issued> => {
    const { value, expiresAt } = tokens.issue(ACCOUNT, { lifeSecs: durationSecs })
    given.push(value)
    return {
      given: { token: value, expiresAt } satisfies GivenToken,
      revoke: () => tokens.revoke(value),
      secrets: [value],
    }
  }
  return {
    gatewayOptions: {
      endpoints: [
        { provider: 'cloud-sql', hosts: [HOST], principals: [ACCOUNT], tokenInfo: info.url },
      ],
    },
    options: { host: HOST, user: ROLE },
    role: ROLE,
    environment: {},
    issue,
    issueForever: async (gateway) => (await issue(gateway, { durationSecs: 86_400 })).given,
    watchSecrets() {
      const before = given.length
      return () => given.slice(before)
    },
    close: () => info.close(),
  }
}
