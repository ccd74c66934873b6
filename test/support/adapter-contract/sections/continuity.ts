/** No query fails because a token expired, credentials rotated, or the server ended sessions. */
import type { Login } from '../../../../core/index.js'
import type { Database } from '../adapter-driver.js'
import { atOnce, connectionsOpen, countCalls, type ContractContext } from '../contract-context.js'
import { fakeDate } from '../fake-date.js'

const POOL_SIZE = 3
const MINUTE_MS = 60_000

export function describeContinuity(context: ContractContext): void {
  /** Once all connections are there, ends them: a query that is under way may fail, a later one may not. */
  const endSessions = async (login: Login, db: Database): Promise<void> => {
    await connectionsOpen(login, db, POOL_SIZE)
    await context.server().endSessions()
    await connectionsOpen(login, db, 0)
  }

  it('opens new connections with new tokens after the server ended all sessions', async () => {
    const login = context.server().login()
    const db = context.open(login, { poolSize: POOL_SIZE })
    for (let round = 1; round <= 3; round++) {
      await succeeds(db)
      await endSessions(login, db)
      expect(login.stats().tokensMade).toBe(POOL_SIZE * round)
    }
    await succeeds(db)
  })

  it('keeps its connections when their tokens expire, and opens new ones with new tokens', async () => {
    const { gateway, login: loginTo } = context.server()
    const putForward = fakeDate()
    const refused = gateway.stats().loginsRefused
    const login = loginTo({ tokenDurationSecs: 60 })
    const db = context.open(login, { poolSize: POOL_SIZE })
    await succeeds(db)
    putForward(2 * MINUTE_MS)
    await succeeds(db)
    await endSessions(login, db)
    putForward(2 * MINUTE_MS)
    await succeeds(db)
    expect(gateway.stats().loginsRefused).toBe(refused)
  })

  it('gives up a shared token before it expires', async () => {
    const { gateway, login: loginTo } = context.server()
    const putForward = fakeDate()
    const refused = gateway.stats().loginsRefused
    const login = loginTo({ tokenDurationSecs: 60, reuseTokenSecs: 3_600 })
    const db = context.open(login, { poolSize: POOL_SIZE })
    await succeeds(db)
    expect(login.stats().tokensMade).toBe(1)
    await endSessions(login, db)
    putForward(MINUTE_MS)
    await succeeds(db)
    expect(login.stats().tokensMade).toBe(2)
    expect(gateway.stats().loginsRefused).toBe(refused)
  })

  it('takes up new credentials when the old ones come to their end', async () => {
    const { gateway, login: loginTo } = context.server()
    const putForward = fakeDate()
    const refused = gateway.stats().loginsRefused
    let current = gateway.issueCredentials({ durationSecs: 3_600 })
    const { credentials, calls } = countCalls(() => current)
    const login = loginTo({ credentials, tokenDurationSecs: 900 })
    const db = context.open(login, { poolSize: POOL_SIZE })
    await succeeds(db)

    // In their last quarter of an hour the old ones are good for no whole token.
    putForward(50 * MINUTE_MS)
    const old = current
    current = gateway.issueCredentials({ durationSecs: 3_600 })
    gateway.revokeCredentials(old.accessKeyId)
    await succeeds(db)
    await endSessions(login, db)
    await succeeds(db)

    expect(calls()).toBe(2)
    expect(gateway.stats().loginsRefused).toBe(refused)
  })
}

async function succeeds(db: Database): Promise<void> {
  const rows = await atOnce(20, () => db.run('SELECT 1 AS one'))
  expect(rows.flat()).toEqual(Array.from({ length: 20 }, () => ({ one: 1 })))
}
