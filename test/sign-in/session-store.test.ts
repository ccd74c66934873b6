import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  createFileStore,
  createMemoryStore,
  expressSessionStore,
  fileStore,
  type SessionStore,
} from '../../sign-in/session-store.js'
import { createSignIn, type SignInOptions } from '../../sign-in/sign-in.js'

let now = 0
const folder = mkdtempSync(join(tmpdir(), 'pg-iam-store-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe.each<[string, () => SessionStore]>([
  ['memory', () => createMemoryStore({}, () => now)],
  ['file', () => createFileStore(join(folder, 'new', `${Math.random()}.json`), () => now)],
])('the %s store', (_name, create) => {
  it('keeps values for their time, from the last touch on', async () => {
    const store = create()
    expect(await store.get('a')).toBeUndefined()
    await store.set('a', 'one', 10)
    await store.set('b', 'two', 5)
    now += 6_000
    expect([await store.get('a'), await store.get('b')]).toEqual(['one', undefined])
    await store.touch('a', 10)
    await store.touch('b', 10)
    now += 6_000
    expect([await store.get('a'), await store.get('b')]).toEqual(['one', undefined])
    await store.destroy('a')
    expect(await store.get('a')).toBeUndefined()
  })

  it('keeps each of many values that are written at once', async () => {
    const store = create()
    await Promise.all(
      Array.from({ length: 50 }, (_, index) => store.set(`${index}`, `${index}`, 10)),
    )
    expect(
      await Promise.all(Array.from({ length: 50 }, (_, index) => store.get(`${index}`))),
    ).toEqual(Array.from({ length: 50 }, (_, index) => `${index}`))
  })
})

describe('the memory store', () => {
  it('refuses values beyond its limit, until others have expired', async () => {
    const store = createMemoryStore({ maxEntries: 2 }, () => now)
    await store.set('a', 'one', 10)
    await store.set('b', 'two', 10)
    await expect(store.set('c', 'three', 10)).rejects.toMatchObject({ code: 'ERR_SIGN_IN_LIMIT' })
    await store.set('a', 'other', 10)
    now += 11_000
    await store.set('c', 'three', 10)
  })
})

describe('the file store', () => {
  it('keeps all values that several stores write to one file at once', async () => {
    const path = join(folder, 'shared.json')
    const stores = [1, 2, 3].map(() => createFileStore(path, () => now))
    const names = Array.from({ length: 60 }, (_, index) => `${index}`)
    await Promise.all(names.map((name, index) => stores[index % 3]!.set(name, name, 10)))
    expect(await Promise.all(names.map((name) => stores[0]!.get(name)))).toEqual(names)
  })

  it('goes on if a process that was killed has left its lock', async () => {
    const path = join(folder, 'locked.json')
    writeFileSync(`${path}.lock`, '')
    utimesSync(`${path}.lock`, new Date(0), new Date(0))
    const store = createFileStore(path, () => now)
    await store.set('a', 'one', 10)
    expect(await store.get('a')).toBe('one')
    expect(readdirSync(folder).filter((name) => name.startsWith('locked'))).toEqual(['locked.json'])
  })

  it('writes a file that only its owner can read', async () => {
    const path = join(folder, 'private.json')
    writeFileSync(path, '{}', { mode: 0o644 })
    await fileStore(path).set('a', 'one', 10)
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('says which file is none of a store', async () => {
    const path = join(folder, 'broken.json')
    writeFileSync(path, 'no JSON')
    await expect(fileStore(path).get('a')).rejects.toMatchObject({
      code: 'ERR_SIGN_IN_STORE',
      message: expect.stringContaining(path) as string,
    })
  })
})

describe('a store of express-session', () => {
  it('may have no touch, and passes its errors on', async () => {
    const entries = new Map<string, unknown>()
    const store = expressSessionStore({
      get: (id, callback) => callback(null, entries.get(id)),
      set: (id, value, callback) => {
        entries.set(id, value)
        callback()
      },
      destroy: (_id, callback) => callback(new Error('the store is read-only')),
    })
    await store.set('a', 'one', 10)
    await store.touch('a', 20)
    expect(entries.get('a')).toMatchObject({ cookie: { maxAge: 20_000 }, sealed: 'one' })
    expect(await store.get('a')).toBe('one')
    await expect(store.destroy('a')).rejects.toThrow('the store is read-only')
  })
})

describe('createSignIn', () => {
  const VALID: SignInOptions = {
    issuer: 'https://login.example.com',
    clientId: 'dashboard',
    redirectUri: 'https://dashboard.example.com/callback',
    keys: ['k'.repeat(32)],
    store: createMemoryStore({}, () => now),
    credentials: () => () => ({ accessKeyId: 'AKIA', secretAccessKey: 'secret' }),
  }

  it.each<[string, object]>([
    [
      '"issuer" must be an https URL, or an http URL on this machine',
      { issuer: 'http://login.example.com' },
    ],
    ['"issuer" must be the URL of the OpenID provider', { issuer: undefined }],
    [
      '"redirectUri" must be a URL without a query',
      { redirectUri: 'https://example.com/callback?a=b' },
    ],
    ['"keys" must be an array of at least one key', { keys: [] }],
    ['"keys[0]" must be a random text of at least 32 characters', { keys: ['short'] }],
    ['"keys[1]" must be another key', { keys: ['k'.repeat(32), 'k'.repeat(32)] }],
    ['"credentials" must be a function', { credentials: {} }],
    ['"store" must be a store', { store: new Map() }],
    ['"scopes" must be an array that has "openid"', { scopes: ['email'] }],
    ['"authorizationParams.state" must not be given', { authorizationParams: { state: 'x' } }],
    ['"limits.pools" must be', { limits: { pools: 0 } }],
    ['"limits.idleSecs" must not exceed', { limits: { idleSecs: 100, sessionSecs: 60 } }],
    ['"limits.pool" is not a known option', { limits: { pool: 1 } }],
    ['"signedOutPath" must be a path', { signedOutPath: '//evil.example' }],
    ['"clientID" is not a known option', { clientID: 'dashboard' }],
  ])('refuses options that are wrong: %s', (message, options) => {
    expect(() => createSignIn({ ...VALID, ...options } as SignInOptions)).toThrow(
      expect.objectContaining({ message: expect.stringContaining(message) as string }),
    )
  })

  it('warns once that sessions are in memory if no store is given', () => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const { store: _store, ...others } = VALID
    createSignIn(others)
    expect(warn).toHaveBeenCalledWith(
      expect.stringContaining('memory of this process'),
      expect.objectContaining({ code: 'PG_IAM_MEMORY_STORE' }),
    )
  })

  it('shows no key in an error', () => {
    expect(() => createSignIn({ ...VALID, keys: ['short secret'] })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('short secret') as string }),
    )
  })
})
