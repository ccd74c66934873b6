/** Logins with tokens that the gateway checks, each token another one: a cache would find none of them again in a round. */
import { auroraDsql, cloudSql, entra, rds, type Login } from '../../core/index.js'
import { createPrincipals } from '../../gateway/auth/aws/principals.js'
import { createEndpoint, type EndpointOptions } from '../../gateway/auth/endpoints.js'
import type { LoginClient, LoginMethod } from '../../gateway/auth/login-method.js'
import type { LoginRequest } from '../../gateway/auth/verifier.js'
import { CREDENTIALS } from '../frame/surroundings.js'

export interface TokenPool {
  readonly name: string
  /** As a listener of the gateway uses it. */
  readonly method: LoginMethod
  readonly logins: readonly PooledLogin[]
}

export interface PooledLogin {
  readonly request: LoginRequest
  readonly client: LoginClient
}

/** Signs so many tokens of each kind. */
export async function makeTokenPools(size: number): Promise<TokenPool[]> {
  const pools: TokenPool[] = []
  for (const kind of KINDS) pools.push(await makePool(kind, size))
  return pools
}

/** A kind of token. What tells its tokens apart is up to it. */
interface Kind {
  readonly name: string
  endpoint(size: number): EndpointOptions
  /** The login whose token is the one of this number. */
  login(number: number, credentials: never): Login
}

const [HOST, RDS_HOST, ENTRA_HOST, CLOUD_SQL_HOST] = [
  `${'bench'.repeat(5)}x.dsql.us-east-1.on.aws`,
  'shop.abcdefghijkl.us-east-1.rds.amazonaws.com',
  'shop.postgres.database.azure.com',
  'a1b2c3d4e5f6.g7h8i9j0k1l2.europe-west1.sql.goog',
]
const ROLE = 'app'

const KINDS: readonly Kind[] = [
  {
    name: 'Aurora DSQL',
    endpoint: () => ({
      provider: 'aurora-dsql',
      hosts: [HOST],
      principals: [{ ...CREDENTIALS, roles: [ROLE] }],
    }),
    login: (number, credentials) =>
      auroraDsql({ host: HOST, user: ROLE, credentials, tokenDurationSecs: 900 + number }),
  },
  {
    name: 'RDS',
    endpoint: (size) => ({
      provider: 'rds',
      hosts: [RDS_HOST],
      principals: [
        { ...CREDENTIALS, roles: Array.from({ length: size }, (_, number) => `${ROLE}${number}`) },
      ],
    }),
    login: (number, credentials) => rds({ host: RDS_HOST, user: `${ROLE}${number}`, credentials }),
  },
  {
    // Two of one second would be the same; the endpoint's clock is another second for each.
    name: 'Entra ID',
    endpoint: () => ({
      provider: 'entra',
      hosts: [ENTRA_HOST],
      principals: [{ objectId: '0b1f7a2e-6c3d-4e8f-8a90-1c2d3e4f5a01', roles: [ROLE] }],
    }),
    login: (_number, credentials) => entra({ host: ENTRA_HOST, user: ROLE, credentials }),
  },
  {
    // Looked up, not computed: the gateway is the giver of its own tokens.
    name: 'Cloud SQL',
    endpoint: () => ({
      provider: 'cloud-sql',
      hosts: [CLOUD_SQL_HOST],
      principals: ['app@shop.iam.gserviceaccount.com'],
    }),
    login: (_number, credentials) =>
      cloudSql({ host: CLOUD_SQL_HOST, user: 'app@shop.iam', credentials }),
  },
]

async function makePool({ name, endpoint, login }: Kind, size: number): Promise<TokenPool> {
  const startedAt = Date.now()
  let signingAt: number | undefined
  const { method, hosts, loginOptions } = createEndpoint(endpoint(size), {
    principals: createPrincipals([{ ...CREDENTIALS, roles: [ROLE] }]),
    clock: () => signingAt ?? Date.now(),
  })
  const tokens = new Set<string>()
  const logins: PooledLogin[] = []
  for (let number = 0; number < size; number++) {
    signingAt = startedAt - number * 1_000
    const made = login(number, loginOptions['credentials'] as never)
    const token = await made.password()
    tokens.add(token)
    const { user: role = ROLE, database } = made
    logins.push({ request: { role, database, servername: hosts[0] }, client: clientWith(token) })
  }
  signingAt = undefined
  if (tokens.size < size) throw new Error(`two tokens of ${name} are the same`)
  return { name, method, logins }
}

/** A client that answers at once. */
function clientWith(token: string): LoginClient {
  const answer = Promise.resolve(Buffer.from(`${token}\0`))
  const unasked = (): never => {
    throw new Error('a token needs no more than a question and an answer')
  }
  return { ask: () => answer, tell: unasked, channelBinding: unasked, certificate: unasked }
}
