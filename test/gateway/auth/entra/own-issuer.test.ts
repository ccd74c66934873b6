import type { EntraOptions } from '../../../../core/index.js'
import type { EntraEndpoint } from '../../../../gateway/index.js'
import { OBJECT_ID } from '../../../support/issuers/entra-claims.js'
import { currentUser } from '../current-user.js'
import { usePostgres } from '../../upstream-gateway.js'

const HOST = 'shop.postgres.database.azure.com'
const postgres = usePostgres(['app'])

describe('a gateway that is its own issuer', () => {
  const options: EntraEndpoint = {
    provider: 'entra',
    hosts: [HOST],
    principals: [{ objectId: OBJECT_ID, roles: ['app'] }],
  }

  it('gives logins with tokens of its first principal', async () => {
    const gateway = await postgres.start({ endpoints: [options], roles: ['app'] })
    const login = gateway.login()
    expect(login).toMatchObject({ provider: 'entra', host: HOST, user: 'app' })
    expect(await currentUser(login)).toEqual({ me: 'app' })
    expect(gateway.stats()).toMatchObject({ loginsAccepted: 1, distinctTokens: 1 })
  })

  it('refuses its own tokens for something else', async () => {
    const gateway = await postgres.start({ endpoints: [options], roles: ['app'] })
    const scope = 'https://management.azure.com/.default'
    const login = gateway.login({ scope, reuseTokenSecs: 0 } as EntraOptions)
    await expect(currentUser(login)).rejects.toThrow('does not have a valid audience claim')
    expect(gateway.stats().refusals).toEqual({ 'audience-wrong': 1 })
  })

  it('refuses its own tokens when they have ended, and the login gets another one', async () => {
    let now = Date.now()
    const clock = () => now
    const gateway = await postgres.start({ endpoints: [options], roles: ['app'], clock })
    const login = gateway.login()
    expect(await currentUser(login)).toEqual({ me: 'app' })
    now += 3_601_000
    expect(await currentUser(login)).toEqual({ me: 'app' })
    expect(gateway.stats().refusals).toEqual({ 'token-expired': 1 })
    expect(login.stats().tokensMade).toBe(2)
  })

  it('does not take the tokens of another gateway', async () => {
    const [one, other] = await Promise.all([
      postgres.start({ endpoints: [options], roles: ['app'] }),
      postgres.start({ endpoints: [options], roles: ['app'] }),
    ])
    const { host, port, ca } = other
    const login = one.login({ connectTo: { host, port }, tls: { ca }, reuseTokenSecs: 0 })
    await expect(currentUser(login)).rejects.toMatchObject({ code: '28000' })
    expect(other.stats().refusals).toEqual({ 'signature-wrong': 1 })
  })
})
