/**
 * Signing in on the command line: in the browser of this machine (RFC 8252), or with a code on another device (RFC 8628). The tokens are in
 * an encrypted file.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { link, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname } from 'node:path'
import { singleFlight, withTimeout } from '../core/async.js'
import { PgIamError } from '../core/errors.js'
import {
  type Check,
  checkOptions,
  invalidOption,
  isPlainObject,
  secureUrl,
  text,
} from '../core/options/check.js'
import type { SignedInIdentity } from './identity-credentials.js'
import {
  createIdentityProvider,
  type DeviceCode,
  type IdentityProvider,
  sessionEnded,
  type UserTokens,
} from './identity-provider.js'
import { createSealer, sealingKeys } from './sealing.js'
import { createFileStore, signInFile, withFileLock } from './session-store.js'

/** The provider of a sign-in, which is saved with its tokens. */
export interface SignInProfile {
  /** The issuer: https, or http on this machine. */
  issuer: string
  /** The ID of a public client (without a secret) whose redirect URI is `http://127.0.0.1/callback`, with any port. */
  clientId: string
  /** Default: `openid`, and `offline_access` if the provider lists it. */
  scopes?: readonly string[]
  /** Texts to keep with it, such as the ARN of a role. */
  settings?: Readonly<Record<string, string>>
}

export interface CommandLineSignInOptions {
  /** Default: `pg-iam/sign-in.json` in `$XDG_CONFIG_HOME`, or in `~/.config`. */
  file?: string
  /** The key of the file, at least 32 characters. Default: that in the file beside it, which is made when it is missing (mode 0600). */
  key?: string
}

/** How the user signs in. */
export type SignInMethod =
  /** Opens the address in a browser on this machine. */
  | { readonly open: (url: string) => void | Promise<void> }
  /** Tells the user where to enter which code. */
  | {
      readonly showCode: (
        code: Pick<DeviceCode, 'userCode' | 'verificationUri' | 'verificationUriComplete'>,
      ) => void
    }

export interface SavedSignIn {
  readonly profile: SignInProfile
  readonly signedInAt: Date
  readonly tokensExpireAt: Date
  /** Its tokens are refreshed when they are needed, and saved. */
  readonly identity: SignedInIdentity
}

export interface CommandLineSignIn {
  /** Signs in and saves it, in place of the one before. Rejects with the errors of a sign-in, or with `ERR_SIGN_IN_EXPIRED` after 5 minutes. */
  signIn(profile: SignInProfile, method: SignInMethod): Promise<SavedSignIn>
  /** Resolves with the saved sign-in, or with `undefined` if there is none. */
  saved(): Promise<SavedSignIn | undefined>
  /** Deletes it, and revokes its tokens. Resolves with whether there was one. */
  signOut(): Promise<boolean>
}

/** What is in the file. */
interface SavedRecord {
  readonly profile: SignInProfile
  readonly tokens: UserTokens
  /** Epoch milliseconds. */
  readonly signedInAt: number
}

/**
 * Returns the sign-in of a command-line tool, whose user stays signed in from one run to the next.
 *
 * Exported from `'pg-iam/sign-in'`.
 *
 * @throws PgIamError `ERR_OPTION_INVALID`. Its functions reject with `ERR_SIGN_IN_STORE` if the file cannot be read.
 */
export function createCommandLineSignIn(options: CommandLineSignInOptions = {}): CommandLineSignIn {
  const { file = signInFile(process.env), key } = checkOptions(options, {
    file: text,
    key: ((value, name) => sealingKeys([value], name)[0]!) as Check<string>,
  })
  const store = createFileStore(file, Date.now)
  const sealer = singleFlightOnce(async () =>
    createSealer([key ?? (await keyIn(file.replace(/(?:\.json)?$/, '.key')))]),
  )

  const read = async (): Promise<SavedRecord | undefined> => {
    const sealed = await store.get(NAME)
    if (sealed === undefined) return undefined
    const record = (await (await sealer()).open(NAME, sealed)) as SavedRecord | undefined
    if (record === undefined) {
      throw new PgIamError('ERR_SIGN_IN_STORE', `the file ${file} was written with another key`, {
        hint: 'Sign in again.',
      })
    }
    return record
  }
  const write = async (record: SavedRecord): Promise<void> => {
    await store.set(NAME, await (await sealer()).seal(NAME, record), KEPT_SECS)
    // Readable without the key, for tools that only have to know what the sign-in is for.
    const { scopes, settings } = record.profile
    await store.set(PROFILE, JSON.stringify({ scopes, settings }), KEPT_SECS)
  }

  const savedOf = (record: SavedRecord): SavedSignIn => {
    const provider = providerOf(record.profile)
    let { tokens } = record
    const isFresh = (): boolean => tokens.expiresAt - Date.now() > REFRESH_BEFORE_MS
    const fresh = singleFlight(async (): Promise<UserTokens> =>
      // One run of the tool refreshes them, because providers take a second use of a refresh token for theft.
      isFresh() ? tokens : withFileLock(`${file}.refresh`, refresh),
    )
    const refresh = async (): Promise<UserTokens> => {
      const stored = await read()
      // Another sign-in in the meantime is another identity.
      if (stored?.signedInAt !== record.signedInAt) throw sessionEnded()
      ;({ tokens } = stored)
      if (isFresh()) return tokens
      tokens = await provider.refresh(tokens)
      if ((await read())?.signedInAt !== record.signedInAt) throw sessionEnded()
      await write({ ...record, tokens })
      return tokens
    }
    return {
      profile: record.profile,
      signedInAt: new Date(record.signedInAt),
      tokensExpireAt: new Date(tokens.expiresAt),
      identity: {
        issuer: record.profile.issuer,
        subject: tokens.subject,
        claims: tokens.claims,
        idToken: async () => (await fresh()).idToken,
        accessToken: async () => (await fresh()).accessToken,
        exchangeToken: (grantType, parameters) => provider.exchangeToken(grantType, parameters),
      },
    }
  }

  return {
    async signIn(given, method) {
      const profile = checkProfile(given)
      const provider = providerOf(profile)
      // Before the user does anything: a damaged file is removed, and a key that cannot be read or written is reported.
      await store.get(NAME).catch(() => rm(file, { force: true }))
      await sealer()
      const tokens =
        'open' in method
          ? await inBrowser(provider, method.open)
          : await onDevice(provider, method.showCode)
      const record = { profile, tokens, signedInAt: Date.now() }
      await write(record)
      return savedOf(record)
    },
    async saved() {
      const record = await read()
      return record === undefined ? undefined : savedOf(record)
    },
    async signOut() {
      // A file with another key can be deleted, but its tokens cannot be revoked.
      const record = await read().catch(() => undefined)
      const sealed = await store.get(NAME).catch(async () => {
        await rm(file, { force: true })
        return 'damaged'
      })
      const hadOne = sealed !== undefined
      await store.destroy(NAME)
      await store.destroy(PROFILE)
      if (record !== undefined) await providerOf(record.profile).revoke(record.tokens)
      return hadOne
    },
  }
}

const NAME = 'sign-in'
const PROFILE = 'profile'
/** The provider decides how long a refresh token is valid. The file forgets it after 90 days. */
const KEPT_SECS = 90 * 86_400
const REFRESH_BEFORE_MS = 60_000
const SIGN_IN_MS = 300_000

function checkProfile(given: SignInProfile): SignInProfile {
  const { issuer, clientId, ...others } = checkOptions(given, PROFILE_CHECKS, 'profile.')
  if (issuer === undefined) throw invalidOption('profile.issuer', 'an https URL', undefined)
  if (clientId === undefined) throw invalidOption('profile.clientId', 'a client ID', undefined)
  return { issuer, clientId, ...others }
}

const scopeList: Check<readonly string[]> = (value, name) => {
  if (!Array.isArray(value) || !value.includes('openid'))
    throw invalidOption(name, 'an array that has "openid"', value)
  return value.map((each: unknown, index) => text(each, `${name}[${index}]`))
}

const PROFILE_CHECKS = {
  issuer: secureUrl,
  clientId: text,
  scopes: scopeList,
  settings: ((value, name) => {
    if (!isPlainObject(value)) throw invalidOption(name, 'an object of texts', value)
    for (const [key, each] of Object.entries(value)) text(each, `${name}.${key}`)
    return value as Record<string, string>
  }) as Check<Readonly<Record<string, string>>>,
} as const

function providerOf({ issuer, clientId, scopes }: SignInProfile): IdentityProvider {
  return createIdentityProvider({
    issuer,
    clientId,
    clientSecret: undefined,
    scopes,
    authorizationParams: {},
    clockSkewSecs: 30,
    requestTimeoutMs: 10_000,
    now: Date.now,
  })
}

/** Waits for the browser on a free port of this machine (RFC 8252, section 7.3). */
async function inBrowser(
  provider: IdentityProvider,
  openBrowser: (url: string) => void | Promise<void>,
): Promise<UserTokens> {
  const secrets = await provider.newAttempt()
  const server = createServer({ requestTimeout: 10_000 })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const redirectUri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`
  try {
    const callback = new Promise<{ url: URL; answer: (text: string) => void }>((resolve) => {
      server.on('request', (request, response) => {
        // `//` is no address, for example.
        const target = request.url ?? '/'
        const url = URL.canParse(target, redirectUri) ? new URL(target, redirectUri) : undefined
        const answer = (message: string): void => {
          response
            .writeHead(200, {
              'content-type': 'text/plain; charset=utf-8',
              'cache-control': 'no-store',
              'referrer-policy': 'no-referrer',
              connection: 'close',
            })
            .end(`${message}\n`)
        }
        // Other programs on this machine can send requests, too. They do not know the state.
        if (url?.pathname === '/callback' && url.searchParams.get('state') === secrets.state)
          resolve({ url, answer })
        else response.writeHead(404, { connection: 'close' }).end()
      })
    })
    await openBrowser(await provider.authorizationUrl(redirectUri, secrets))
    const { url, answer } = await withTimeout(callback, SIGN_IN_MS, expired)
    try {
      const tokens = await provider.exchangeCode(url, secrets)
      answer('You are signed in. You can close this page.')
      return tokens
    } catch (error) {
      answer('The sign-in failed. The command says why. You can close this page.')
      throw error
    }
  } finally {
    server.close()
    // The browser has read the answer by then. A connection on which nothing came would keep the process running.
    setTimeout(() => server.closeAllConnections(), 1_000).unref()
  }
}

async function onDevice(
  provider: IdentityProvider,
  showCode: (code: DeviceCode) => void,
): Promise<UserTokens> {
  const code = await provider.deviceCode()
  showCode(code)
  const limit = AbortSignal.timeout(SIGN_IN_MS)
  return code.wait(limit).catch((error: unknown) => {
    throw limit.aborted ? expired() : error
  })
}

function expired(): PgIamError {
  return new PgIamError('ERR_SIGN_IN_EXPIRED', 'the sign-in took longer than 5 minutes', {
    hint: 'Sign in again.',
  })
}

/** The key in a file that only its owner can read. It is made when it is missing. */
async function keyIn(file: string): Promise<string> {
  try {
    const { mode } = await stat(file)
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new PgIamError('ERR_SIGN_IN_STORE', `other users can read ${file}`, {
        hint: `Run: chmod 600 ${file}`,
      })
    }
    return sealingKeys([(await readFile(file, 'utf8')).trim()], `the key in ${file}`)[0]!
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  // Complete before it has its name, so that nobody reads half a key.
  const temporary = `${file}.${randomUUID()}.tmp`
  await writeFile(temporary, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600 })
  try {
    await link(temporary, file)
  } catch (error) {
    // Another process has made it in the meantime.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(temporary)
  }
  return keyIn(file)
}

function singleFlightOnce<T>(work: () => Promise<T>): () => Promise<T> {
  let done: Promise<T> | undefined
  return () => {
    done ??= work().catch((error: unknown) => {
      done = undefined
      throw error
    })
    return done
  }
}
