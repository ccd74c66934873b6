/** No query fails because a token expired, credentials rotated, or the server ended sessions. */
import type { Login } from '../../../../core/index.js'
import type { OpenClient } from '../../../clients/client.js'
import {
  atOnce,
  connectionsOpen,
  countCalls,
  tokensFor,
  type ContractContext,
} from '../contract-context.js'
import { fakeDate } from '../fake-date.js'

const POOL_SIZE = 3
const MINUTE_MS = 60_000
/** No token or credentials of these tests are valid for more than an hour. */
const PAST_ANY_TOKEN_MS = 120 * MINUTE_MS

export function describeContinuity(context: ContractContext): void {
  describeOwnTokens(context)
  describeSharedTokens(context)
}

/** Without the option that lets connections share a token. */
export function describeOwnTokens(context: ContractContext): void {
  it('opens new connections after the server ended all sessions', async () => {
    const { gateway, provider, providerLogin } = context.server()
    const before = gateway.stats().loginsAccepted
    const login = providerLogin()
    const db = context.open(login, { poolSize: POOL_SIZE })
    for (let round = 1; round <= 3; round++) {
      await succeeds(db)
      await endSessions(context, login, db)
      expect(gateway.stats().loginsAccepted - before).toBe(POOL_SIZE * round)
      expect(login.stats().tokensMade).toBe(provider.sharesTokens ? 1 : POOL_SIZE * round)
    }
    await succeeds(db)
  })

  it('keeps connections whose tokens expire, and opens new ones with new tokens', async () => {
    const { gateway, providerLogin } = context.server()
    const putForward = fakeDate()
    const { loginsAccepted, loginsRefused: refused } = gateway.stats()
    const login = providerLogin({ maxLifetimeSecs: 604_800 })
    const db = context.open(login, { poolSize: POOL_SIZE })
    await succeeds(db)
    await connectionsOpen(login, db, POOL_SIZE)
    putForward(PAST_ANY_TOKEN_MS)
    await succeeds(db)
    expect(gateway.stats().loginsAccepted - loginsAccepted).toBe(POOL_SIZE)
    await endSessions(context, login, db)
    putForward(PAST_ANY_TOKEN_MS)
    await succeeds(db)
    expect(login.stats().tokensMade).toBe(2 * tokensFor(context.server(), POOL_SIZE))
    expect(gateway.stats().loginsRefused).toBe(refused)
  })

  it('uses new credentials before the old ones expire', async () => {
    const { gateway, providerLogin, stand } = context.server()
    const putForward = fakeDate()
    const refused = gateway.stats().loginsRefused
    let current = await stand.issue(gateway, { durationSecs: 3_600 })
    const { request, calls } = countCalls(() => current.given)
    const login = providerLogin({ maxLifetimeSecs: 604_800 }, request)
    const db = context.open(login, { poolSize: POOL_SIZE })
    await succeeds(db)

    // Valid for half a minute, which is too short to create and send a token.
    putForward(59.5 * MINUTE_MS)
    const old = current
    current = await stand.issue(gateway, { durationSecs: 3_600 })
    old.revoke()
    await succeeds(db)
    await endSessions(context, login, db)
    await succeeds(db)

    expect(calls()).toBe(2)
    expect(gateway.stats().loginsRefused).toBe(refused)
  })
}

function describeSharedTokens(context: ContractContext): void {
  it('stops using a shared token before it expires', async () => {
    const { gateway, providerLogin } = context.server()
    const putForward = fakeDate()
    const refused = gateway.stats().loginsRefused
    const login = providerLogin({ reuseTokenSecs: 3_600 })
    const db = context.open(login, { poolSize: POOL_SIZE })
    await succeeds(db)
    expect(login.stats().tokensMade).toBe(1)
    await endSessions(context, login, db)
    putForward(PAST_ANY_TOKEN_MS)
    await succeeds(db)
    expect(login.stats().tokensMade).toBe(2)
    expect(gateway.stats().loginsRefused).toBe(refused)
  })
}

/** When all connections are open, ends them: a running query may fail, but not a later one. */
async function endSessions(context: ContractContext, login: Login, db: OpenClient): Promise<void> {
  await connectionsOpen(login, db, POOL_SIZE)
  await context.server().endSessions()
  await connectionsOpen(login, db, 0)
}

async function succeeds(db: OpenClient): Promise<void> {
  const rows = await atOnce(20, () => db.run('SELECT 1 AS one'))
  expect(rows.flat()).toEqual(Array.from({ length: 20 }, () => ({ one: 1 })))
}
