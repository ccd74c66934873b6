/** CAs of a provider that cannot be loaded: which logins are affected. */
import { createClient } from '../../../adapters/pg.js'
import { createLogin } from '../../../core/login.js'
import type { Login } from '../../../core/index.js'
import { commonSettings } from '../../../core/options/common-options.js'
import { createToken } from '../../../core/tokens/token.js'
import { HOST } from '../support/dsql-options.js'
import { type StandIn, startStandIn } from '../support/postgres-stand-in.js'
import { answeringQueries } from '../support/query-server.js'
import { startRawClient } from '../support/raw-client.js'

const failure = new Error('not installed')

let server: StandIn
beforeAll(async () => {
  server = await startStandIn(answeringQueries((query) => query))
})
afterAll(() => server.close())

function loginWithout(): Login {
  const { targets, ...common } = commonSettings(
    { host: [HOST], connectTo: [{ host: '127.0.0.1', port: server.port }], user: 'app' },
    {},
    {
      port: 5432,
      database: 'shop',
      reuseTokenSecs: 0,
      hostHint: 'a host',
      provider: 'custom',
    },
  )
  const issueToken = async () => createToken('secret', new Date(Date.now() + 3_600_000))
  return createLogin({
    ...common,
    provider: 'custom',
    hosts: [{ ...targets[0], issueToken }],
    loadAuthorities: () => Promise.reject(failure),
  })
}

describe('CAs that cannot be loaded', () => {
  it('fail a connection with the original error, before anything is dialled', async () => {
    expect(await startRawClient(loginWithout()).closed).toBe(failure)
    expect(server.accepted()).toBe(0)
  })

  it('do not affect the request for a token', async () => {
    expect((await loginWithout().token()).value).toBe('secret')
  })

  it("do not affect a connection if the client's options have CAs", async () => {
    const client = createClient(loginWithout(), { ssl: { ca: server.authority.ca } })
    await client.connect()
    await client.end()
    expect(server.accepted()).toBe(1)
  })
})
