/** Entra ID for the contract: an issuer whose keys the gateway reads for each login. */
import { entra, type AzureTokenCredential } from '../../../../core/index.js'
import { OBJECT_ID, TENANT, entraClaims } from '../../issuers/entra-claims.js'
import { createSigningKeys, type SigningKeys } from '../../issuers/signing-keys.js'
import type { ContractProvider, Issued, Life, ProviderStand } from '../contract-provider.js'
import { failuresOf } from '../failures.js'

const HOST = 'contract.postgres.database.azure.com'

export const entraContract: ContractProvider = {
  name: 'entra',
  sharesTokens: true,
  refusedWith: '28000',
  failures: [
    ...failuresOf('ERR_TOKEN_REQUEST_FAILED'),
    {
      name: 'returns no token',
      fail: () => null,
      hasOriginal: false,
      code: 'ERR_TOKEN_INVALID',
    },
    {
      name: 'returns an expired token',
      fail: () => ({ token: 'ended', expiresOnTimestamp: 1 }),
      hasOriginal: false,
      code: 'ERR_TOKEN_INVALID',
    },
  ],
  login: (options, request) =>
    entra({
      ...options,
      credentials: { getToken: async () => request() } as AzureTokenCredential,
    }),
  start: startStand,
}

async function startStand(): Promise<ProviderStand> {
  const keys = await createSigningKeys()
  const given: string[] = []
  const nextKey = keysInTurn(keys)

  const issue = async (_gateway: unknown, { durationSecs }: Life): Promise<Issued> => {
    const keyId = await nextKey()
    const claims = entraClaims()
    const exp = claims.iat! + durationSecs
    const token = await keys.sign({ ...claims, exp }, { keyId })
    const [, , signature = ''] = token.split('.')
    given.push(signature)
    return {
      given: { token, expiresOnTimestamp: exp * 1_000 },
      revoke: () => keys.revoke(keyId),
      secrets: [signature],
    }
  }
  return {
    gatewayOptions: {
      endpoints: [
        {
          provider: 'entra',
          hosts: [HOST],
          tenantId: TENANT,
          jwks: () => keys.published(),
          principals: [{ objectId: OBJECT_ID, roles: ['app'] }],
        },
      ],
    },
    options: { host: HOST, user: 'app' },
    role: 'app',
    environment: {},
    issue,
    issueForever: async (gateway) => (await issue(gateway, { durationSecs: 86_400 })).given,
    watchSecrets() {
      const before = given.length
      return () => given.slice(before)
    },
    close: async () => {},
  }
}

/** Two signing keys alternate, so that the previous token can be revoked; a revoked key is replaced. Generating keys is slow. */
function keysInTurn(keys: SigningKeys): () => Promise<string> {
  const ids: (string | undefined)[] = [keys.current(), undefined]
  let turn = 0
  return async () => {
    const at = turn++ % 2
    const isPublished = keys.published().keys.some(({ kid }) => kid === ids[at])
    return (ids[at] = isPublished && ids[at] !== undefined ? ids[at] : await keys.rotate())
  }
}
