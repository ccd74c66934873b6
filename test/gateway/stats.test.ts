import { createStats } from '../../gateway/stats.js'

describe('createStats', () => {
  const login = (name: string, expiresAt: number) => ({
    identity: 'AKIDEXAMPLE',
    token: { fingerprint: name, expiresAt },
  })

  it('counts a token once, even if it is used repeatedly', () => {
    const stats = createStats(() => 0)
    for (const name of ['one', 'two', 'one', 'one']) stats.loginAccepted(login(name, 900))
    expect(stats.read()).toMatchObject({ loginsAccepted: 4, distinctTokens: 2 })
  })

  it('counts logins without a token, and no token for them', () => {
    const stats = createStats(() => 0)
    stats.loginAccepted({ identity: 'app', token: undefined })
    expect(stats.read()).toMatchObject({ loginsAccepted: 1, sessionsOpen: 1, distinctTokens: 0 })
  })

  it('counts all tokens of a long time, most of which have expired', () => {
    let now = 0
    const stats = createStats(() => now)
    for (let count = 0; count < 10_000; count++) {
      now += 10
      stats.loginAccepted(login(`token ${count}`, now + 900))
      stats.loginAccepted(login(`token ${count}`, now + 900))
    }
    expect(stats.read()).toMatchObject({ loginsAccepted: 20_000, distinctTokens: 10_000 })
  })

  it('returns counters that later events do not change', () => {
    const stats = createStats(() => 0)
    stats.loginRefused('token-expired')
    const read = stats.read()
    stats.loginRefused('token-expired')
    expect(read).toMatchObject({ loginsRefused: 1, refusals: { 'token-expired': 1 } })
    expect(stats.read()).toMatchObject({ loginsRefused: 2, refusals: { 'token-expired': 2 } })
  })
})
