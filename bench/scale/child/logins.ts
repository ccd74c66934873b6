/** A process that has many logins; it runs with `--expose-gc`. */
import { auroraDsql, entra, rds, type Login } from '../../../core/index.js'
import { memoryUse } from '../../common/process/memory-use.js'
import { answerOrder } from '../../common/process/answer-order.js'
import { createSeededRandom } from '../../common/seeded-random.js'
import { shuffled } from '../../frame/shuffled.js'
import { CREDENTIALS } from '../../frame/surroundings.js'
import { PROVIDERS, type LoginsFigures, type LoginsOrder, type Provider } from '../orders.js'

answerOrder(async (order: LoginsOrder): Promise<LoginsFigures[]> => {
  const sets: LoginSet[] = []
  for (const provider of PROVIDERS) {
    for (const count of order.counts) sets.push(createSet(provider, count))
  }
  for (const { logins } of sets) await firstTokens(logins)
  const random = createSeededRandom(order.seed)
  for (let round = -WARM_UP_ROUNDS; round < order.rounds; round++) {
    for (const set of shuffled(sets, random)) {
      const figures = {
        createMicros: createMicros(set, order.created),
        tokenMicros: await tokenMicros(set.logins, order.tokens),
        heapBytes: await heapBytes(set),
      }
      if (round < 0) continue
      set.createMicros.push(figures.createMicros)
      set.tokenMicros.push(figures.tokenMicros)
      set.heapBytes.push(figures.heapBytes)
    }
  }
  return sets.map(({ provider, logins, ...samples }) => {
    const { createMicros: create, tokenMicros: token, heapBytes: heap } = samples
    return {
      provider,
      logins: logins.length,
      createMicros: create,
      tokenMicros: token,
      heapBytes: heap,
    }
  })
})

interface LoginSet {
  readonly provider: Provider
  readonly logins: readonly Login[]
  readonly createMicros: number[]
  readonly tokenMicros: number[]
  readonly heapBytes: number[]
}

const WARM_UP_ROUNDS = 1

function createSet(provider: Provider, count: number): LoginSet {
  return {
    provider,
    logins: createLogins(provider, count),
    createMicros: [],
    tokenMicros: [],
    heapBytes: [],
  }
}

function createLogins(provider: Provider, count: number): Login[] {
  return Array.from({ length: count }, (_, index) => WAYS[provider](index))
}

const REGION = 'us-east-1'
const USER = 'app'
const HOUR_MS = 3_600_000
const credentials = async (): Promise<typeof CREDENTIALS> => CREDENTIALS
const azureCredential = {
  getToken: async () => ({ token: 'token'.repeat(300), expiresOnTimestamp: Date.now() + HOUR_MS }),
}

/** Each to a database of its own. */
const WAYS: Readonly<Record<Provider, (index: number) => Login>> = {
  'Aurora DSQL': (index) => {
    const id = String(index).padStart(26, 'bench')
    return auroraDsql({ host: `${id}.dsql.${REGION}.on.aws`, user: USER, credentials })
  },
  RDS: (index) => {
    const host = `shop${index}.abcdefghijkl.${REGION}.rds.amazonaws.com`
    return rds({ host, user: USER, credentials, reuseTokenSecs: 0 })
  },
  'Entra ID': (index) => {
    const host = `shop${index}.postgres.database.azure.com`
    return entra({ host, user: USER, credentials: azureCredential, reuseTokenSecs: 0 })
  },
}

function createMicros({ provider, logins: { length: count } }: LoginSet, created: number): number {
  const startedAt = performance.now()
  for (let left = created; left > 0; left -= count) createLogins(provider, count)
  return ((performance.now() - startedAt) * 1_000) / created
}

async function tokenMicros(logins: readonly Login[], tokens: number): Promise<number> {
  const startedAt = performance.now()
  for (let made = 0; made < tokens; made++) await logins[made % logins.length]!.token()
  return ((performance.now() - startedAt) * 1_000) / tokens
}

async function heapBytes({ provider, logins: { length: count } }: LoginSet): Promise<number> {
  const before = await memoryUse()
  const logins = createLogins(provider, count)
  await firstTokens(logins)
  const after = await memoryUse()
  // They must live until here.
  if (logins.length !== count) throw new Error('a login was lost')
  return after.objects - before.objects
}

async function firstTokens(logins: readonly Login[]): Promise<void> {
  for (const login of logins) await login.token()
}
