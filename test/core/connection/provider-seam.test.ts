/** The optional parts of a provider: host resolution, CAs, users and hints. */
import { createLogin, type LoginSettings } from '../../../core/login.js'
import type { Login } from '../../../core/index.js'
import { commonSettings } from '../../../core/options/common-options.js'
import { createToken } from '../../../core/tokens/token.js'
import { startupParameters } from '../../../wire/startup.js'
import { AUTHENTICATION_OK, errorResponse, GREETING } from '../support/backend-messages.js'
import { type Authority, createAuthority } from '../support/certificates.js'
import {
  type LoginTranscript,
  receiveLogin,
  type StandIn,
  startStandIn,
} from '../support/postgres-stand-in.js'
import { type RawClient, startRawClient } from '../support/raw-client.js'

const ALIAS = 'db.shop.example'
const OWN = 'real.cloud.example'
const DEFAULTS = {
  port: 5432,
  database: 'shop',
  reuseTokenSecs: 0,
  hostHint: 'a host',
  provider: 'custom' as const,
}

let authority: Authority
beforeAll(async () => {
  authority = await createAuthority()
})

let server: StandIn | undefined
let received: LoginTranscript[] = []
afterEach(async () => {
  await server?.close()
  server = undefined
  received = []
})

/** Starts a server with a certificate for `name`, and returns a login to it. `refusal` is its reply to each token. */
async function loginTo(
  name: string,
  {
    issueToken,
    resolveHost: findOwnName,
    ...own
  }: Partial<LoginSettings & LoginSettings['hosts'][0]> = {},
  refusal?: Buffer,
): Promise<Login> {
  server = await startStandIn(
    async (socket, keys) => {
      const transcript = await receiveLogin(socket, keys)
      received.push(transcript)
      transcript.socket.write(refusal ?? Buffer.concat([AUTHENTICATION_OK, GREETING]))
    },
    await authority.issue(name),
  )
  const { targets, ...common } = commonSettings(
    { host: [ALIAS], connectTo: [{ host: '127.0.0.1', port: server.port }], user: 'app' },
    {},
    DEFAULTS,
  )
  return createLogin({
    ...common,
    tls: { ca: authority.ca },
    provider: 'custom',
    hosts: [
      {
        ...targets[0],
        issueToken: issueToken ?? (async (host) => createToken(`token for ${host}`, inAnHour())),
        ...(findOwnName === undefined ? {} : { resolveHost: findOwnName }),
      },
    ],
    ...own,
  })
}

const inAnHour = (): Date => new Date(Date.now() + 3_600_000)

async function open(login: Login, firstPacket?: Buffer): Promise<Buffer> {
  const client = startRawClient(login, firstPacket)
  const bytes = await client.receive(1)
  client.stream.destroy()
  return bytes
}

describe('a host that resolves to another one', () => {
  it('has the tokens and the TLS settings of the resolved host', async () => {
    const login = await loginTo(OWN, { resolveHost: () => Promise.resolve(OWN) })
    await open(login)
    expect(received).toMatchObject([{ password: `token for ${OWN}`, socket: { servername: OWN } }])
    expect((await login.token()).value).toBe(`token for ${OWN}`)
  })

  it('is not trusted with a certificate for the given name only', async () => {
    const login = await loginTo(ALIAS, { resolveHost: () => Promise.resolve(OWN) })
    const client = startRawClient(login)
    expect(await client.closed).toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
    expect(received).toEqual([])
  })

  it('is resolved for each connection, and shares tokens by resolved host', async () => {
    const names = [OWN, ALIAS, OWN, OWN]
    const login = await loginTo(OWN, {
      resolveHost: () => Promise.resolve(names.shift()!),
      reuseTokenSecs: 60,
    })
    await open(login)
    await startRawClient(login).closed
    await open(login)
    await open(login)
    expect(received.map(({ password }) => password)).toEqual(
      Array.from({ length: 3 }, () => `token for ${OWN}`),
    )
    expect(login.stats()).toMatchObject({ tokensMade: 2, tokensReused: 2 })
  })

  it('fails the connection with the error of the resolution, before anything is dialled', async () => {
    const failure = new Error('no such name')
    const login = await loginTo(OWN, { resolveHost: () => Promise.reject(failure) })
    expect(await startRawClient(login).closed).toBe(failure)
    await expect(login.token()).rejects.toBe(failure)
    expect(server?.accepted()).toBe(0)
  })
})

describe('the CAs of the provider', () => {
  it('are loaded and trusted if the caller gives none', async () => {
    const login = await loginTo(ALIAS, {
      tls: {},
      loadAuthorities: () => Promise.resolve(authority.ca),
    })
    await open(login)
    expect(received).toHaveLength(1)
  })

  it('are not loaded if the caller gives CAs', async () => {
    const login = await loginTo(ALIAS, {
      loadAuthorities: () => Promise.reject(new Error('loaded')),
    })
    await open(login)
    expect(received).toHaveLength(1)
  })
})

describe('a token that names its user', () => {
  it('logs in as that user, which the login has from then on', async () => {
    const login = await loginTo(ALIAS, {
      user: undefined,
      issueToken: async () => createToken('secret', inAnHour(), 'IAMR:writer'),
    })
    expect(login.user).toBeUndefined()
    await open(login)
    expect(startupParameters(received[0]!.startup)?.get('user')).toBe('IAMR:writer')
    expect(login.user).toBe('IAMR:writer')
  })
})

describe('a rejection that the provider can explain', () => {
  const REFUSAL = errorResponse('28000', 'PAM authentication failed for user "app" – ü')

  it("has the provider's hint, and all fields of the server's error", async () => {
    const asked: unknown[] = []
    const login = await loginTo(
      ALIAS,
      {
        explainRefusal: (refusal) => {
          asked.push(refusal)
          return 'Grant rds_iam – to "app".'
        },
      },
      REFUSAL,
    )
    const told = await open(login)
    expect(told.readInt32BE(1)).toBe(told.length - 1)
    expect(told.toString('utf8', 5)).toBe(
      `${REFUSAL.toString('utf8', 5, REFUSAL.length - 1)}HGrant rds_iam – to "app".\0\0`,
    )
    expect(asked).toEqual([
      {
        sqlState: '28000',
        message: 'PAM authentication failed for user "app" – ü',
        user: 'app',
      },
    ])
  })

  it.each([
    ['there is no explanation', undefined, REFUSAL],
    ['the server gives a hint itself', 'ours', withHint(REFUSAL, 'the server’s')],
  ])('is forwarded unchanged if %s', async (_label, hint, refusal) => {
    const login = await loginTo(ALIAS, { explainRefusal: () => hint }, refusal)
    expect(await open(login)).toEqual(refusal)
  })
})

describe('new credentials that never arrive after a rejection', () => {
  const REFUSAL = errorResponse('28000', 'access denied')

  /** Resolves when they are requested. The request never settles. */
  async function askedOf(own: Partial<LoginSettings>): Promise<RawClient> {
    let login: Login | undefined
    let client: RawClient | undefined
    await new Promise<void>((resolve, reject) => {
      const renewAfterRefusal = (): Promise<boolean> => {
        resolve()
        return new Promise(() => {})
      }
      const credentials = { renewAfterRefusal, replacements: () => 0 }
      loginTo(ALIAS, { ...own, credentials }, REFUSAL).then((made) => {
        login = made
        client = startRawClient(login)
      }, reject)
    })
    return client!
  }

  it("result in the server's error when the time limit is reached", async () => {
    const client = await askedOf({ connectTimeoutMs: 300 })
    expect(await client.receive(REFUSAL.length)).toEqual(REFUSAL)
    expect(await client.closed).toBeUndefined()
  })

  it('do not keep the socket open', async () => {
    const client = await askedOf({})
    await server!.idle()
    expect(received).toHaveLength(1)
    client.stream.destroy()
    await client.closed
  })

  it('are not awaited after the client aborts', async () => {
    const client = await askedOf({})
    client.stream.destroy()
    expect(await client.closed).toBeUndefined()
  })
})

function withHint(error: Buffer, hint: string): Buffer {
  const told = Buffer.concat([error.subarray(0, -1), Buffer.from(`H${hint}\0\0`)])
  told.writeInt32BE(told.length - 1, 1)
  return told
}
