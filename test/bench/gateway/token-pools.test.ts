import { makeTokenPools } from '../../../bench/gateway/token-pools.js'

describe('the pools of tokens that are checked', () => {
  it('are of every kind that the gateway checks, and each token is good', async () => {
    const pools = await makeTokenPools(3)
    expect(pools.map(({ name }) => name)).toEqual(['Aurora DSQL', 'RDS', 'Entra ID', 'Cloud SQL'])
    for (const { method, logins } of pools) {
      expect(logins).toHaveLength(3)
      const tokens = new Set<string>()
      for (const { request, client } of logins) {
        expect(await method.authenticate(request, client)).toHaveProperty('accepted')
        tokens.add((await client.ask(Buffer.alloc(0))).toString())
      }
      expect(tokens.size).toBe(3)
    }
  })

  it('are checked for what they are: another role is refused', async () => {
    for (const { method, logins } of await makeTokenPools(1)) {
      const { request, client } = logins[0]!
      const other = { ...request, role: 'somebody' }
      expect(await method.authenticate(other, client)).toHaveProperty('refused')
    }
  })
})
