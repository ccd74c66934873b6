/** For which servers a certificate is taken, on every version of Node: theirs compare in different ways. */
import { startRawClient } from '../support/raw-client.js'
import { createAuthority, type KeyPair } from '../support/certificates.js'
import { AUTHENTICATION_OK, GREETING } from '../support/backend-messages.js'
import { receiveLogin, startStandIn } from '../support/postgres-stand-in.js'
import { customLogin } from '../../../core/index.js'

/** Whether a login for `name` takes the certificate: the code of the error, or `undefined`. */
async function refusal(
  name: string,
  make: (authority: Awaited<ReturnType<typeof createAuthority>>) => Promise<KeyPair>,
): Promise<string | undefined> {
  const authority = await createAuthority()
  const server = await startStandIn(
    async (socket, keys) => {
      const { socket: secured } = await receiveLogin(socket, keys)
      secured.write(Buffer.concat([AUTHENTICATION_OK, GREETING]))
    },
    await make(authority),
  )
  const login = customLogin({
    host: name,
    user: 'app',
    getToken: async () => Promise.resolve('CANARY'),
    connectTo: { host: '127.0.0.1', port: server.port },
    tls: { ca: authority.ca },
  })
  const client = startRawClient(login)
  try {
    const first = await Promise.race([client.receive(1), client.closed])
    return Buffer.isBuffer(first) ? undefined : (first as unknown as { code: string }).code
  } finally {
    client.stream.destroy()
    await server.close()
  }
}

describe('the certificate of a server', () => {
  it.each([
    ['db.example.com', ['db.example.com']],
    ['db.example.com', ['DB.EXAMPLE.COM']],
    ['db.example.com', ['*.example.com']],
    ['my_db.example.com', ['my_db.example.com']],
    ['xn--mnchen-3ya.example.com', ['xn--mnchen-3ya.example.com']],
    ['10.0.0.3', ['other.example.com', '10.0.0.3']],
    ['::1', ['::1']],
    ['fd00:0:0:0::3', ['fd00::3']],
  ])('is taken for %s where it holds %j', async (name, names) => {
    expect(await refusal(name, (authority) => authority.issue(...names))).toBeUndefined()
  })

  it.each([
    ['db.example.com', ['db.example.org']],
    ['db.example.com', ['*.com']],
    ['a.db.example.com', ['*.example.com']],
    ['db.example.com', ['10.0.0.3']],
    ['10.0.0.3', ['10.0.0.4']],
    ['10.0.0.3', ['*.0.0.3']],
    ['::1', ['::2', 'localhost']],
  ])('is not taken for %s where it holds %j', async (name, names) => {
    expect(await refusal(name, (authority) => authority.issue(...names))).toBe(
      'ERR_TLS_CERT_ALTNAME_INVALID',
    )
  })

  it.each(['10.0.0.3', '::1', 'fd00::3'])(
    'is not taken for the address %s where that is only its common name',
    async (name) => {
      expect(await refusal(name, (authority) => authority.issueNamed(name))).toBe(
        'ERR_TLS_CERT_ALTNAME_INVALID',
      )
    },
  )
})
