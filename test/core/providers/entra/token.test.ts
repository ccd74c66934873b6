import * as fc from 'fast-check'
import { createPool } from '../../../../adapters/pg.js'
import {
  type AzureTokenCredential,
  entra,
  type EntraOptions,
  isPgIamError,
  type Login,
} from '../../../../core/index.js'
import { createEntra } from '../../../../core/providers/entra/entra.js'
import { claimsOf, userFromClaims } from '../../../../core/providers/entra/token.js'
import { eventually } from '../../../support/eventually.js'
import {
  AUDIENCE,
  entraClaims,
  type EntraClaims,
  systemAssignedIdentity,
  userAssignedIdentity,
} from '../../../support/issuers/entra-claims.js'
import { errorResponse } from '../../support/backend-messages.js'
import { rejectionOf } from '../../support/caught.js'
import { receiveLogin, startStandIn } from '../../support/postgres-stand-in.js'
import { printed } from '../../support/printed.js'

const HOST = 'shop.postgres.database.azure.com'

/** An unsigned token, since nothing verifies it here. */
const unsigned = (claims: EntraClaims): string =>
  `e30.${Buffer.from(JSON.stringify(entraClaims(claims))).toString('base64url')}.CANARY`

/** The same with only these claims. */
const jwtOf = (claims: object): string =>
  `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.CANARY`

interface Recorded extends AzureTokenCredential {
  readonly scopes: string[]
}

/** A credential that records its calls. */
function recorded(token: (scope: string) => string | Error, lifeMs = 3_600_000): Recorded {
  const scopes: string[] = []
  return {
    scopes,
    async getToken(scope) {
      scopes.push(String(scope))
      const given = token(String(scope))
      if (typeof given !== 'string') throw given
      return Promise.resolve({ token: given, expiresOnTimestamp: Date.now() + lifeMs })
    },
  }
}

const login = (options: Partial<EntraOptions>): Login => entra({ host: HOST, ...options })

describe('a token of entra', () => {
  it('is that of the credential, with its expiry', async () => {
    const value = unsigned({ upn: 'jane@example.com' })
    const expiresOnTimestamp = Date.now() + 1_234_000
    const credentials = {
      getToken: async () => Promise.resolve({ token: value, expiresOnTimestamp }),
    }
    const own = login({ credentials })
    const token = await own.token()
    expect(token.value).toBe(value)
    expect(token.expiresAt).toEqual(new Date(expiresOnTimestamp))
    expect([token.user, own.user]).toEqual(['jane@example.com', 'jane@example.com'])
    expect(printed(token) + printed(own)).not.toContain('CANARY')
  })

  it.each<[string, Partial<EntraOptions>, string]>([
    ['the public cloud', {}, 'https://ossrdbms-aad.database.windows.net/.default'],
    [
      'the cloud of the host',
      { host: 'shop.postgres.database.usgovcloudapi.net' },
      'https://ossrdbms-aad.database.usgovcloudapi.net/.default',
    ],
    [
      'the cloud that was given',
      { host: '10.0.0.5', cloud: 'china' },
      'https://ossrdbms-aad.database.chinacloudapi.cn/.default',
    ],
    [
      'a scope that was given',
      { cloud: 'china', scope: 'api://own/.default' },
      'api://own/.default',
    ],
  ])('is requested with the scope of %s', async (_what, options, scope) => {
    const credentials = recorded(() => unsigned({}))
    await login({ user: 'app', credentials, ...options }).token()
    expect(credentials.scopes).toEqual([scope])
  })

  it('has the application ID of a service principal as its user if it contains no name', async () => {
    const appid = '00000000-aaaa-bbbb-cccc-000000000001'
    const credentials = recorded(() => jwtOf({ appid, idtyp: 'app' }))
    const own = login({ credentials })
    expect((await own.token()).user).toBe(appid)
    expect(own.user).toBe(appid)
    // A token with a name uses that, even if only the token for the resource manager has it.
    const named = recorded((scope) =>
      jwtOf(scope.includes('management') ? { appid, upn: 'jane@example.com' } : { appid }),
    )
    expect((await login({ credentials: named }).token()).user).toBe('jane@example.com')
  })

  it("uses the fallback user if it names none, but never the appid of a user's program", async () => {
    const credentials = recorded(() =>
      jwtOf({ appid: 'of the Azure CLI', scp: 'user_impersonation' }),
    )
    const own = login({ credentials, fallbackUsername: 'app' })
    expect((await own.token()).user).toBe('app')
    const opaque = recorded(() => 'opaque')
    expect((await login({ credentials: opaque, fallbackUsername: 'app' }).token()).user).toBe('app')
    expect(await rejectionOf(login({ credentials }).token())).toMatchObject({
      code: 'ERR_TOKEN_INVALID',
      hint: expect.stringContaining('"fallbackUsername"'),
    })
    const named = recorded(() => unsigned({ upn: 'jane@example.com' }))
    const both = login({ credentials: named, fallbackUsername: 'app' })
    expect((await both.token()).user).toBe('jane@example.com')
    expect(() => login({ fallbackUsername: 'app\0user' })).toThrow('"fallbackUsername" must be')
  })

  it('is shared until it nears its expiry', async () => {
    let now = Date.now()
    const credentials = recorded(() => unsigned({}))
    const own = createEntra({ host: HOST, user: 'app', credentials }, {}, () => now)
    await Promise.all(Array.from({ length: 50 }, () => own.token()))
    now += 3_500_000
    await own.token()
    expect(credentials.scopes).toHaveLength(1)
    now += 50_000
    await own.token()
    expect(credentials.scopes).toHaveLength(2)
    expect(own.stats()).toMatchObject({ tokensMade: 2, tokensReused: 50, credentialCalls: 2 })
  })

  it('is requested from a function that is called once, and again after a failure', async () => {
    let asked = 0
    const own = login({
      user: 'app',
      reuseTokenSecs: 0,
      credentials: async () => {
        if (++asked === 1) throw new Error('vault is sealed')
        return Promise.resolve(recorded(() => unsigned({})))
      },
    })
    const error = await rejectionOf(own.token())
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_REQUEST_FAILED',
      message: `entra: could not get a token for ${HOST}`,
      cause: new Error('vault is sealed'),
    })
    await own.token()
    await own.token()
    expect(asked).toBe(2)
  })

  it.each([
    [null, 'ERR_CREDENTIALS_UNAVAILABLE'],
    [{}, 'ERR_CREDENTIALS_UNAVAILABLE'],
    [{ getToken: async () => Promise.resolve(null) }, 'ERR_TOKEN_INVALID'],
    [{ getToken: async () => Promise.resolve({ token: '' }) }, 'ERR_TOKEN_INVALID'],
    [{ getToken: async () => Promise.resolve({ token: 'CANARY' }) }, 'ERR_TOKEN_INVALID'],
    [
      { getToken: async () => Promise.resolve({ token: 'CANARY', expiresOnTimestamp: NaN }) },
      'ERR_TOKEN_INVALID',
    ],
    [
      { getToken: async () => Promise.resolve({ token: 'CANARY', expiresOnTimestamp: 1 }) },
      'ERR_TOKEN_INVALID',
    ],
  ])('is rejected for %p', async (given, code) => {
    const error = await rejectionOf(
      login({ user: 'app', credentials: () => given as AzureTokenCredential }).token(),
    )
    expect(error).toMatchObject({ code })
    expect(printed(error)).not.toContain('CANARY')
  })
})

it('an entra token without an expiry is rejected with a reason', async () => {
  const given = { getToken: async () => Promise.resolve({ token: 'CANARY' }) }
  const credentials = given as unknown as AzureTokenCredential
  expect(await rejectionOf(login({ user: 'app', credentials }).token())).toMatchObject({
    message: `entra: the token for ${HOST} is invalid: "expiresOnTimestamp" must be a number of milliseconds, got undefined`,
  })
})

describe('a token that the server rejects', () => {
  it('is replaced, at most once a minute', async () => {
    let now = Date.now()
    const credentials = recorded(() => unsigned({}))
    const server = await startStandIn(async (socket, keys) => {
      const { socket: secured } = await receiveLogin(socket, keys)
      secured.end(errorResponse('28000', 'The access token has expired.'))
    })
    const { host, connectTo, tls } = server.login()
    const own = createEntra(
      {
        host: 'shop.postgres.database.azure.com',
        user: 'app',
        credentials,
        connectTo: connectTo!,
        tls: { ca: tls.ca!, servername: host },
      },
      {},
      () => now,
    )
    const pool = createPool(own)
    const attempt = async (): Promise<number[]> => {
      await expect(pool.query('SELECT 1')).rejects.toMatchObject({ code: '28000' })
      return [credentials.scopes.length, server.accepted()]
    }
    expect(await attempt()).toEqual([2, 2])
    now += 30_000
    expect(await attempt()).toEqual([2, 3])
    now += 31_000
    expect(await attempt()).toEqual([3, 5])
    await pool.end()
    await server.close()
  })
})

describe('a credential that never settles', () => {
  it('is aborted after tokenTimeoutMs', async () => {
    const signals: AbortSignal[] = []
    const credentials: AzureTokenCredential = {
      getToken: async (_scopes, { abortSignal } = {}) => {
        signals.push(abortSignal!)
        return new Promise((_, reject) => {
          abortSignal?.addEventListener('abort', () => reject(new Error('aborted')))
        })
      },
    }
    const error = await rejectionOf(login({ user: 'app', credentials, tokenTimeoutMs: 20 }).token())
    expect(error).toMatchObject({ code: 'ERR_TOKEN_TIMEOUT', retryable: true })
    await eventually('the signal', () => signals[0]?.aborted === true)
  })
})

describe('the user of a token', () => {
  it('is not determined from the token if one was given', async () => {
    const credentials = recorded(() => 'no JSON Web Token')
    const own = login({ user: 'app', credentials })
    expect((await own.token()).user).toBeUndefined()
    expect(own.user).toBe('app')
    expect(credentials.scopes).toEqual([`${AUDIENCE}/.default`])
  })

  it('is determined from a token for the resource manager if the first token names none', async () => {
    const credentials = recorded((scope) =>
      unsigned(scope.includes('management') ? { upn: 'jane@example.com' } : {}),
    )
    const own = login({ host: 'shop.postgres.database.chinacloudapi.cn', credentials })
    expect((await own.token()).user).toBe('jane@example.com')
    expect(credentials.scopes).toEqual([
      'https://ossrdbms-aad.database.chinacloudapi.cn/.default',
      'https://management.chinacloudapi.cn/.default',
    ])
  })

  it('is required, with the names of the claims in the error, if no token contains it', async () => {
    const own = login({
      credentials: recorded(() => unsigned({ email: 'CANARY', appid: undefined })),
    })
    const error = await rejectionOf(own.token())
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_INVALID',
      message: `entra: the token for ${HOST} does not name the database user: it has the claims aud, iss, iat, nbf, exp, oid, sub, tid, ver, email`,
      hint: expect.stringMatching(/^Give "user"/),
    })
    expect(printed(error)).not.toContain('CANARY')
    expect(own.user).toBeUndefined()
  })

  it("is required, with the cause, if the resource manager's token cannot be requested", async () => {
    const failure = new Error('AADSTS500011')
    const credentials = recorded((scope) => (scope.includes('management') ? failure : 'no token'))
    const error = await rejectionOf(login({ credentials }).token())
    expect(error).toMatchObject({
      code: 'ERR_TOKEN_INVALID',
      message: expect.stringContaining('it has no readable claims'),
      cause: failure,
    })
    expect(isPgIamError(error)).toBe(true)
  })
})

const jwt = (payload: string): string => `e30.${Buffer.from(payload).toString('base64url')}.c2ln`

describe('claimsOf', () => {
  it('parses the claims of a token without verifying it', () => {
    expect(claimsOf(jwt('{"upn":"jürgen@example.com"}'))).toEqual({ upn: 'jürgen@example.com' })
  })

  it.each([
    '',
    'x',
    'a.b',
    jwt('{}').slice(4),
    `${jwt('{}')}.more`,
    jwt(''),
    jwt('[]'),
    jwt('null'),
    jwt('"text"'),
    jwt('{"upn":'),
  ])('returns undefined for %j', (token) => {
    expect(claimsOf(token)).toBeUndefined()
  })

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), (a, b, c) => {
        claimsOf(a)
        claimsOf(`${a}.${b}.${c}`)
        claimsOf(jwt(b))
      }),
    )
  })
})

describe('userFromClaims', () => {
  const all = {
    xms_mirid: userAssignedIdentity('shop-identity'),
    upn: 'upn@example.com',
    preferred_username: 'preferred@example.com',
    unique_name: 'unique@example.com',
    appid: 'no name',
    sub: 'no name',
  }
  const without = (...names: (keyof typeof all)[]): object =>
    Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name as never)))

  it.each<[object, string, string]>([
    [all, 'shop-identity', 'xms_mirid'],
    [without('xms_mirid'), 'upn@example.com', 'upn'],
    [without('xms_mirid', 'upn'), 'preferred@example.com', 'preferred_username'],
    [without('xms_mirid', 'upn', 'preferred_username'), 'unique@example.com', 'unique_name'],
    // The claims of a user precede the name of a machine.
    [
      { ...all, xms_mirid: systemAssignedIdentity('Microsoft.Compute/virtualMachines', 'vm') },
      'upn@example.com',
      'upn',
    ],
    [{ ...all, upn: '' }, 'shop-identity', 'xms_mirid'],
    [{ upn: '', unique_name: 'unique@example.com' }, 'unique@example.com', 'unique_name'],
    [{ upn: 5, unique_name: 'unique@example.com' }, 'unique@example.com', 'unique_name'],
    [{ upn: 'a\u0000b', unique_name: 'unique@example.com' }, 'unique@example.com', 'unique_name'],
  ])('takes from %j the user "%s" of the claim %s', (claims, user, claim) => {
    expect(userFromClaims(claims as Record<string, unknown>)).toEqual({ user, claim })
  })

  it.each([
    ['Microsoft.Compute/virtualMachines', 'vm-1', 'vm-1'],
    ['Microsoft.Web/sites', 'shop', 'shop'],
    ['Microsoft.Web/sites', 'shop/slots/staging', 'shop/slots/staging'],
    ['Microsoft.App/containerApps', 'shop', 'shop'],
  ])('names the identity of a resource (%s) after the resource: %s', (type, name, user) => {
    const claims = { xms_mirid: systemAssignedIdentity(type, name) }
    expect(userFromClaims(claims)).toEqual({ user, claim: 'xms_mirid' })
  })

  it('ignores the case of the identity type', () => {
    const xms_mirid = userAssignedIdentity('Shop').replace('Microsoft.Managed', 'microsoft.managed')
    expect(userFromClaims({ xms_mirid, upn: 'x' })).toEqual({ user: 'Shop', claim: 'xms_mirid' })
  })

  it.each([
    {},
    { appid: 'x', oid: 'x', sub: 'x', app_displayname: 'x' },
    { xms_mirid: 'shop' },
    { xms_mirid: '/subscriptions/x' },
    { xms_mirid: userAssignedIdentity('') },
    { xms_mirid: systemAssignedIdentity('Microsoft.Web/sites', '/') },
    { xms_mirid: 5 },
  ])('returns undefined for %j', (claims) => {
    expect(userFromClaims(claims)).toBeUndefined()
  })
})
