import { cloudSqlEndpoint } from '../../../gateway/auth/cloud-sql.js'
import { endpointOptions, type EndpointOptions } from '../../../gateway/auth/endpoints.js'
import { thrownBy } from '../../core/support/caught.js'

const ENTRY = {
  provider: 'cloud-sql' as const,
  hosts: ['1a23b4c5d67e.2s8t1qqyvjq7l.us-central1.sql.goog'],
  principals: ['app@shop.iam.gserviceaccount.com', 'jane@example.com'],
}
const check = (own: object): EndpointOptions =>
  endpointOptions({ ...ENTRY, ...own }, 'endpoints[0]')

describe('a cloud-sql endpoint', () => {
  it('accepts its options', () => {
    expect(check({})).toEqual(ENTRY)
    const tokenInfo = 'https://oauth2.googleapis.com/tokeninfo'
    expect(check({ listen: 0, tokenInfo })).toEqual({ ...ENTRY, listen: 0, tokenInfo })
  })

  it('lists the roles of its principals', () => {
    expect(cloudSqlEndpoint.roles(ENTRY)).toEqual(['app@shop.iam', 'jane@example.com'])
  })

  it.each([
    [{ hosts: undefined }, '"endpoints[0].hosts" must be given, got undefined'],
    [{ principals: undefined }, '"endpoints[0].principals" must be given, got undefined'],
    [
      { principals: [] },
      '"endpoints[0].principals" must be an array of at least one e-mail address, got an array of 0',
    ],
    [{ principals: ['app'] }, '"endpoints[0].principals[0]" must be an e-mail address, got "app"'],
    [{ principals: [5] }, '"endpoints[0].principals[0]" must be an e-mail address, got 5'],
    [
      { tokenInfo: 'http://oauth2.googleapis.com/tokeninfo' },
      '"endpoints[0].tokenInfo" must be an https URL, or an http URL on this machine, got "http://oauth2.googleapis.com/tokeninfo"',
    ],
    [{ tokeninfo: 'https://x' }, '"endpoints[0].tokeninfo" is not a known option'],
  ])('rejects the options %j', (own, message) => {
    expect(thrownBy(() => check(own))).toMatchObject({ message, code: 'ERR_OPTION_INVALID' })
  })

  it("sends Cloud SQL's error to a client without TLS", () => {
    const surroundings = { clock: Date.now } as Parameters<typeof cloudSqlEndpoint.create>[1]
    const { errors: answers } = cloudSqlEndpoint.create(ENTRY, surroundings)
    const client = { role: 'app@shop.iam', database: 'shop', address: '127.0.0.1' }
    expect(answers.tlsRequired(client)).toMatchObject({
      sqlState: '28000',
      message:
        'pg_hba.conf rejects connection for host "127.0.0.1", user "app@shop.iam", database "shop", no encryption',
    })
  })
})
