/** Keys that are taken back before they end: nothing announces it but the server's refusal. */
import { createPool } from '../../../adapters/pg.js'
import type { AwsCredentials } from '../../../core/index.js'
import { startGateway, type Gateway } from '../../../gateway/index.js'

describe('a login whose key was revoked', () => {
  let gateway: Gateway
  beforeAll(async () => {
    gateway = await startGateway()
  })
  afterAll(() => gateway?.close())

  /** A key without an end, as the server sees it: nothing of it says when it will be taken back. */
  const issue = (): AwsCredentials => {
    const { accessKeyId, secretAccessKey, sessionToken } = gateway.issueCredentials()
    return { accessKeyId, secretAccessKey, sessionToken }
  }

  it.each([
    ['a token for each connection', 0],
    ['a shared token', 60],
  ])('logs in with the new key that the provider has, with %s', async (_label, reuseTokenSecs) => {
    let current = issue()
    const login = gateway.login({ credentials: () => current, reuseTokenSecs })
    const pool = createPool(login, { max: 1, maxUses: 1 })
    await pool.query('SELECT 1')

    gateway.revokeCredentials(current.accessKeyId)
    current = issue()
    expect((await pool.query('SELECT 2 AS two')).rows).toEqual([{ two: 2 }])
    expect((await pool.query('SELECT 3 AS three')).rows).toEqual([{ three: 3 }])
    expect(login.stats()).toMatchObject({ credentialCalls: 2, connectionsOpened: 3 })
    await pool.end()
  })

  it('passes the refusal on where the provider has no other, and does not ask for each connection', async () => {
    const credentials = issue()
    const login = gateway.login({ credentials: () => credentials })
    const pool = createPool(login)
    await pool.query('SELECT 1')
    await pool.end()

    gateway.revokeCredentials(credentials.accessKeyId)
    const refused = createPool(login)
    for (let attempt = 1; attempt <= 3; attempt++) {
      await expect(refused.query('SELECT 2')).rejects.toMatchObject({ code: '08006' })
    }
    expect(login.stats().credentialCalls).toBe(2)
    await refused.end()
  })
})
