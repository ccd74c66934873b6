import { createRefusedTokens } from '../../../core/tokens/refused-tokens.js'

const START = 1_700_000_000_000

describe('createRefusedTokens', () => {
  it('has a shared token forgotten, and another one asked for', async () => {
    const refused = createRefusedTokens(() => START)
    expect(refused.replacements()).toBe(0)
    await expect(refused.renewAfterRefusal()).resolves.toBe(true)
    expect(refused.replacements()).toBe(1)
  })

  it('lets connections that were refused together try the new one, and forgets it for none of them', async () => {
    let now = START
    const refused = createRefusedTokens(() => now)
    await refused.renewAfterRefusal()
    now += 4_999
    await expect(refused.renewAfterRefusal()).resolves.toBe(true)
    expect(refused.replacements()).toBe(1)
  })

  it('asks for another one once a minute at the most', async () => {
    let now = START
    const refused = createRefusedTokens(() => now)
    await refused.renewAfterRefusal()
    now += 5_000
    await expect(refused.renewAfterRefusal()).resolves.toBe(false)
    now = START + 59_999
    await expect(refused.renewAfterRefusal()).resolves.toBe(false)
    expect(refused.replacements()).toBe(1)
    now = START + 60_000
    await expect(refused.renewAfterRefusal()).resolves.toBe(true)
    expect(refused.replacements()).toBe(2)
  })
})
