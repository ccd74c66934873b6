import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { TLSSocket } from 'node:tls'
import { dial, mergeStartupParameters } from '../../../core/connection/log-in.js'
import { verifiedTls } from '../../../core/tls.js'
import { createByteReader } from '../support/byte-reader.js'
import { rejectionOf } from '../support/caught.js'
import { type Authority, createAuthority, type KeyPair } from '../support/certificates.js'
import {
  acceptTls,
  type Behaviour,
  handshake,
  type StandIn,
  startStandIn,
} from '../support/postgres-stand-in.js'

const given = new Map([
  ['application_name', 'shop'],
  ['options', '-c search_path=shop'],
])

describe('mergeStartupParameters', () => {
  it('appends options to those of the driver', () => {
    expect(mergeStartupParameters(given, { options: '-c cluster=one' }).get('options')).toBe(
      '-c search_path=shop -c cluster=one',
    )
  })

  it('adds options if the driver has none', () => {
    expect([...mergeStartupParameters(new Map(), { options: '-c cluster=one' })]).toEqual([
      ['options', '-c cluster=one'],
    ])
  })

  it('overrides any other parameter of the driver', () => {
    expect(mergeStartupParameters(given, { application_name: 'own' }).get('application_name')).toBe(
      'own',
    )
  })

  it('returns equal parameters if there are none to add, and never changes its arguments', () => {
    expect(mergeStartupParameters(given)).toEqual(given)
    mergeStartupParameters(given, { options: 'x' })
    expect(given.get('options')).toBe('-c search_path=shop')
  })
})

const NAME = 'db.example.com'
let authority: Authority
let keys: KeyPair
let standIn: StandIn | undefined

beforeAll(async () => {
  authority = await createAuthority()
  keys = await authority.issue(NAME, '127.0.0.1')
})
afterEach(async () => {
  await standIn?.close()
  standIn = undefined
})

interface Attempt {
  behaviour: Behaviour
  name?: string
  ca?: string | undefined
  negotiation?: 'postgres' | 'direct'
  signal?: AbortSignal
  keys?: KeyPair
}

async function attempt(options: Attempt): Promise<TLSSocket> {
  const {
    behaviour,
    name = NAME,
    negotiation = 'postgres',
    signal = new AbortController().signal,
  } = options
  const ca = 'ca' in options ? options.ca : authority.ca
  standIn = await startStandIn(behaviour, options.keys ?? keys)
  const tls = verifiedTls(name, ca === undefined ? {} : { ca })
  return dial({ address: { host: '127.0.0.1', port: standIn.port }, tls, negotiation, signal })
}

/** The error of an attempt, after which no connection to the server is open. */
async function refusal(options: Attempt): Promise<unknown> {
  const error = await rejectionOf(attempt(options))
  await standIn?.idle()
  return error
}

const answering = (answer: string | Buffer): Behaviour => {
  return async (socket) => {
    await createByteReader(socket).packet()
    socket.write(answer)
  }
}
const accepting: Behaviour = async (socket, pair) => {
  const secured = await acceptTls(socket, pair)
  secured.pipe(secured)
}

describe('dial', () => {
  it('returns an encrypted and verified connection', async () => {
    let names: unknown[] = []
    const socket = await attempt({
      behaviour: async (tcp, pair) => {
        const secured = await acceptTls(tcp, pair)
        names = [secured.servername, secured.alpnProtocol]
        secured.pipe(secured)
      },
    })
    expect([socket.encrypted, socket.authorized, socket.getProtocol()]).toEqual([
      true,
      true,
      'TLSv1.3',
    ])
    socket.write('hello')
    expect(String((await once(socket, 'data'))[0])).toBe('hello')
    expect(names).toEqual([NAME, false])
    socket.destroy()
    await standIn?.idle()
  })

  it('sends an SSLRequest, and nothing else before TLS', async () => {
    let request = Buffer.alloc(0)
    await refusal({
      behaviour: async (socket) => {
        request = Buffer.from(await createByteReader(socket).read(8))
        socket.end('N')
      },
    })
    expect(request.toString('hex')).toBe('0000000804d2162f')
  })

  it('fails if a server accepts direct TLS without the ALPN protocol of PostgreSQL', async () => {
    const error = await refusal({
      negotiation: 'direct',
      behaviour: async (tcp, pair) => {
        const secured = new TLSSocket(tcp, { ...pair, isServer: true })
        secured.on('error', () => {}).resume()
      },
    })
    expect(error).toMatchObject({
      code: 'ERR_PROTOCOL',
      message: expect.stringContaining('did not negotiate the protocol "postgresql"'),
      hint: expect.stringContaining('tls.negotiation'),
    })
    await standIn?.idle()
  })

  it.each([
    ['closes the connection', '', 'ECONNRESET', 'closed the connection'],
    ['replies without TLS', 'E unsupported frontend protocol', undefined, 'did not reply with TLS'],
  ])(
    'names the setting to change if a server %s when TLS is started directly',
    async (_what, reply, code, message) => {
      const error = await refusal({
        negotiation: 'direct',
        behaviour: async (tcp) => {
          await once(tcp, 'data')
          if (reply === '') tcp.resetAndDestroy()
          else tcp.end(reply)
        },
      })
      expect(error).toMatchObject({
        ...(code === undefined ? {} : { code }),
        message: expect.stringContaining(message) as string,
        hint: expect.stringContaining("tls: { negotiation: 'postgres' }") as string,
      })
      await standIn?.idle()
    },
  )

  it('starts TLS immediately, with the ALPN protocol of PostgreSQL, for direct negotiation', async () => {
    let protocol: unknown
    const socket = await attempt({
      negotiation: 'direct',
      behaviour: async (tcp, pair) => {
        const secured = await handshake(tcp, pair)
        protocol = secured.alpnProtocol
      },
    })
    await once(socket, 'session')
    expect([socket.authorized, protocol]).toEqual([true, 'postgresql'])
    socket.destroy()
  })

  it('verifies an IP address, without sending a server name', async () => {
    let name: unknown
    const socket = await attempt({
      name: '127.0.0.1',
      behaviour: async (tcp, pair) => {
        name = (await acceptTls(tcp, pair)).servername
      },
    })
    expect(socket.authorized).toBe(true)
    await once(socket, 'session')
    expect(name).toBe(false)
    socket.destroy()
  })

  it.each([
    ['another name', 'other.example.com'],
    ['a subdomain', 'a.db.example.com'],
    ['another IP address', '127.0.0.2'],
    ['localhost', 'localhost'],
  ])('rejects a certificate if the login expects %s', async (_label, name) => {
    expect(await refusal({ behaviour: accepting, name })).toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    })
  })

  it('rejects an untrusted CA', async () => {
    const other = await createAuthority('Another')
    expect(await refusal({ behaviour: accepting, ca: other.ca })).toMatchObject({
      code: expect.stringMatching(/^(UNABLE_TO_|SELF_SIGNED|CERT_)/),
    })
    await standIn?.close()
    expect(await refusal({ behaviour: accepting, ca: undefined })).toMatchObject({
      code: expect.stringMatching(/^(UNABLE_TO_|SELF_SIGNED|CERT_)/),
    })
  })

  it('rejects a CA of the same name with another key', async () => {
    const impostor = await (await createAuthority()).issue(NAME)
    expect(await refusal({ behaviour: accepting, keys: impostor })).toMatchObject({
      code: expect.any(String),
    })
  })

  it.each([
    ['has no TLS', 'N', 'offers no TLS'],
    ['replies with an error', 'E', 'did not answer the SSLRequest as PostgreSQL does'],
    [
      'is not a PostgreSQL server',
      'HTTP/1.1 400 Bad Request\r\n\r\n',
      'did not answer the SSLRequest as PostgreSQL does',
    ],
    [
      'sends data together with its acceptance of the SSLRequest',
      'Sx',
      'did not answer the SSLRequest as PostgreSQL does',
    ],
    ['sends data together with its rejection of the SSLRequest', 'Nx', 'offers no TLS'],
  ])('rejects a server that %s', async (_label, answer, words) => {
    expect(await refusal({ behaviour: answering(answer) })).toMatchObject({
      code: 'ERR_TLS_UNVERIFIED',
      message: `the server at 127.0.0.1:${standIn?.port} ${words}`,
      hint: expect.stringContaining('verified TLS'),
    })
  })

  it('rejects plain text that arrives shortly after the reply to SSLRequest', async () => {
    const error = await refusal({
      behaviour: async (socket) => {
        const reader = createByteReader(socket)
        await reader.packet()
        socket.write('S')
        // The first bytes of the handshake show that the reply was read.
        await reader.read(1)
        socket.write('R\0\0\0\x08\0\0\0\x03')
      },
    })
    expect(error).toMatchObject({ code: expect.stringMatching(/^ERR_SSL_/) })
  })

  it("rejects with the network's error", async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    const signal = new AbortController().signal
    const tls = verifiedTls(NAME, {})
    const address = { host: '127.0.0.1', port }
    expect(
      await rejectionOf(dial({ address, tls, negotiation: 'postgres', signal })),
    ).toMatchObject({
      code: 'ECONNREFUSED',
      port,
    })
  })
})
