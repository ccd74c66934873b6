/** Tokens are sent only over encrypted and verified connections, whatever the server or the environment request. */
import type { ContractContext } from '../contract-context.js'
import { SSL_REQUEST } from '../recording-server.js'

export function describeVerifiedTls(context: ContractContext): void {
  /** Only the SSLRequest or a ClientHello: a client that continues has sent its startup packet, if not its token. */
  it.each([
    ['without TLS'],
    ['with an untrusted certificate'],
    ['with a certificate for another name'],
  ])('sends no token to a server %s, in any environment', (name) => {
    const { result, hostileServers } = context.process()
    const attempts = result.report?.attempts.filter(({ target }) => target === name) ?? []
    expect(attempts).toHaveLength(18)
    expect(attempts.filter(({ outcome }) => outcome === 'connected')).toEqual([])
    const server = hostileServers.get(name)!
    const withRequest = server.accepted() - server.direct()
    // A client that opens its connections itself decides how TLS starts.
    if (context.entry.connectsItself !== true) expect(server.direct()).toBeGreaterThanOrEqual(9)
    // TLS of a WebSocket is always direct.
    expect(withRequest).toBeGreaterThanOrEqual(context.entry.isWebSocket === true ? 0 : 9)
    expect(server.received()).toBe(SSL_REQUEST.toString('latin1').repeat(withRequest))
  })
}
