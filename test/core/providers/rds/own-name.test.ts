import { resolveEndpoint } from '../../../../core/providers/rds/endpoint.js'
import { rejectionOf } from '../../support/caught.js'
import { type DnsServer, startDnsServer, type Zone } from '../../support/dns-server.js'

const ENDPOINT = 'shop.cluster-c1a2b3c4d5e6.eu-central-1.rds.amazonaws.com'
const INSTANCE = 'shop-1.c1a2b3c4d5e6.eu-central-1.rds.amazonaws.com'
const OWN = 'db.shop.example'

let dns: DnsServer
beforeAll(async () => {
  dns = await startDnsServer()
})
beforeEach(() => void dns.questions.splice(0))
afterAll(() => dns.close())

function follow(zone: Zone, name = OWN): Promise<string> {
  dns.serve(zone)
  return resolveEndpoint(name, (each) => dns.resolver.resolveCname(each))
}

describe('a custom host name', () => {
  it('is resolved to the first endpoint: a cluster endpoint of Aurora is itself a CNAME for an instance', async () => {
    const zone = { [OWN]: { cname: ENDPOINT }, [ENDPOINT]: { cname: INSTANCE } }
    expect(await follow(zone)).toBe(ENDPOINT)
    expect(dns.questions).toEqual([`CNAME ${OWN}`])
  })

  it('is resolved through several names, in any case', async () => {
    const zone = {
      [OWN]: { cname: 'Writer.Shop.Example' },
      'writer.shop.example': { cname: ENDPOINT.toUpperCase() },
    }
    expect(await follow(zone)).toBe(ENDPOINT)
  })

  it.each([
    'shop.c1a2b3c4d5e6.rds.cn-north-1.amazonaws.com.cn',
    'shop.c1a2b3c4d5e6.cn-northwest-1.rds.amazonaws.com.cn',
    'shop.proxy-c1a2b3c4d5e6.us-gov-west-1.rds.amazonaws.com',
  ])('may be a CNAME for %s', async (endpoint) => {
    expect(await follow({ [OWN]: { cname: endpoint } })).toBe(endpoint)
  })

  it('may be the writer endpoint of a global database', async () => {
    const writer = 'shop.global-a1b2c3.global.rds.amazonaws.com'
    expect(await follow({ [writer]: { cname: ENDPOINT } }, writer)).toBe(ENDPOINT)
  })

  it('is resolved each time, since its CNAME changes', async () => {
    expect(await follow({ [OWN]: { cname: ENDPOINT } })).toBe(ENDPOINT)
    expect(await follow({ [OWN]: { cname: INSTANCE } })).toBe(INSTANCE)
  })

  it('is resolved through at most ten names', async () => {
    const chainOf = (length: number): Zone =>
      Object.fromEntries(
        Array.from({ length }, (_, index) => [
          index === 0 ? OWN : `name-${index}.example`,
          { cname: index === length - 1 ? ENDPOINT : `name-${index + 1}.example` },
        ]),
      )
    expect(await follow(chainOf(10))).toBe(ENDPOINT)
    expect(await rejectionOf(follow(chainOf(11)))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringContaining('has more than 10 CNAMEs'),
    })
  })

  it.each<[string, Zone, string, string | undefined]>([
    ['no name', {}, 'does not resolve to one', 'ENOTFOUND'],
    ['an address', { [OWN]: { a: '10.0.0.1' } }, 'does not resolve to one', 'ENODATA'],
    [
      'a name that has an address',
      { [OWN]: { cname: 'nlb.example' }, 'nlb.example': { a: '10.0.0.1' } },
      `does not resolve to one (${OWN} -> nlb.example)`,
      'ENODATA',
    ],
    ['itself', { [OWN]: { cname: OWN } }, `has a CNAME loop (${OWN} -> ${OWN})`, undefined],
    [
      'a circle',
      {
        [OWN]: { cname: 'a.example' },
        'a.example': { cname: 'b.example' },
        'b.example': { cname: 'a.example' },
      },
      `has a CNAME loop (${OWN} -> a.example -> b.example -> a.example)`,
      undefined,
    ],
  ])('is rejected if it is a CNAME for %s', async (_what, zone, words, code) => {
    const error = await rejectionOf(follow(zone))
    expect(error).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      retryable: false,
      message: `"host" must be an RDS endpoint or a CNAME for one, but ${OWN} ${words}`,
      hint: expect.stringContaining('as "connectTo"'),
    })
    expect((error as { cause?: { code?: string } }).cause?.code).toBe(code)
  })

  it('fails with a retryable error if the DNS server fails', async () => {
    expect(await rejectionOf(follow({ [OWN]: 'SERVFAIL' }))).toMatchObject({
      code: 'ERR_CONNECT_FAILED',
      retryable: true,
      message: `rds: could not resolve ${OWN} to an endpoint`,
      cause: expect.objectContaining({ code: 'ESERVFAIL' }),
    })
    expect(await follow({ [OWN]: { cname: ENDPOINT } })).toBe(ENDPOINT)
  })

  it('fails if the DNS server does not answer', async () => {
    const timeout = Object.assign(new Error('queryCname ETIMEOUT'), { code: 'ETIMEOUT' })
    expect(await rejectionOf(resolveEndpoint(OWN, () => Promise.reject(timeout)))).toMatchObject({
      code: 'ERR_CONNECT_FAILED',
      retryable: true,
      cause: timeout,
    })
  })
})
