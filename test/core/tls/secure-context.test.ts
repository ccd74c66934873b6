import { secureContext } from '../../../core/tls/secure-context.js'
import { verifiedTls } from '../../../core/tls/verified-tls.js'
import { createAuthority } from '../support/certificates.js'

const contextFor = (ca?: string) =>
  secureContext(verifiedTls('db.example.com', ca === undefined ? {} : { ca }))

describe('the context of TLS', () => {
  it('is made once for the same authorities, whoever is verified by them', async () => {
    const { ca } = await createAuthority()
    const context = contextFor(ca)
    expect(contextFor(Buffer.from(ca).toString())).toBe(context)
    expect(secureContext(verifiedTls('other.example.com', { ca }))).toBe(context)
    expect(contextFor((await createAuthority()).ca)).not.toBe(context)
    expect(contextFor()).not.toBe(context)
  })

  it('is not kept for more authorities than a process has', async () => {
    const authorities = await Promise.all(Array.from({ length: 17 }, () => createAuthority()))
    const [first, ...others] = authorities.map(({ ca }) => ca) as [string, ...string[]]
    const [oldest, second] = [contextFor(first), contextFor(others[0])]
    for (const ca of others) contextFor(ca)
    expect(contextFor(others[0])).toBe(second)
    expect(contextFor(first)).not.toBe(oldest)
  })
})
