import { auroraDsql, type AuroraDsqlOptions } from '../../../../core/index.js'
import { createAuroraDsql } from '../../../../core/providers/aurora-dsql.js'
import { type AwsFiles, createAwsFiles } from '../../support/aws-files.js'
import { rejectionOf } from '../../support/caught.js'
import { CREDENTIALS, HOST } from '../../support/dsql-options.js'
import { presigned } from '../../support/presigned.js'
import { printed } from '../../support/printed.js'

const surroundings = process.env
let files: AwsFiles

beforeAll(() => {
  files = createAwsFiles({
    credentials: `
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = CANARYdefault

[dev]
aws_access_key_id = AKIADEV
aws_secret_access_key = CANARYdev
aws_session_token = dev-session
`,
    config: `
[profile broken]
credential_process = exit 1
`,
  })
})
beforeEach(() => {
  process.env = { ...files.env }
  // The SDK warns about a profile together with keys in the environment. The test checks that the profile wins.
  jest.spyOn(console, 'warn').mockReturnValue()
})
afterEach(() => {
  process.env = surroundings
})
afterAll(() => files.remove())

/** The access key that signed a token of `auroraDsql` with these options. */
async function signerOf(options: AuroraDsqlOptions): Promise<string> {
  const login = auroraDsql({ host: HOST, user: 'app', ...options })
  return presigned(await login.password()).accessKeyId
}

describe('the credentials of auroraDsql', () => {
  it.each<[string, AuroraDsqlOptions]>([
    ['a value', { credentials: CREDENTIALS }],
    ['a function', { credentials: () => CREDENTIALS }],
    ['an async function', { credentials: async () => CREDENTIALS }],
    ['a function under its other name', { customCredentialsProvider: async () => CREDENTIALS }],
  ])('are those given as %s, whatever the environment contains', async (_label, options) => {
    Object.assign(process.env, {
      AWS_ACCESS_KEY_ID: 'AKIAENV',
      AWS_SECRET_ACCESS_KEY: 'x',
      AWS_PROFILE: 'dev',
    })
    expect(await signerOf(options)).toBe(CREDENTIALS.accessKeyId)
  })

  it.each<[string, Record<string, string>, AuroraDsqlOptions, string]>([
    [
      'the environment',
      { AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_ACCESS_KEY: 'x' },
      {},
      'AKIAENV',
    ],
    ['the default profile', {}, {}, 'AKIADEFAULT'],
    ['the profile of the option', {}, { profile: 'dev' }, 'AKIADEV'],
    ['the profile of AWS_PROFILE', { AWS_PROFILE: 'dev' }, {}, 'AKIADEV'],
    [
      'the profile of the option before AWS_PROFILE',
      { AWS_PROFILE: 'dev' },
      { profile: 'default' },
      'AKIADEFAULT',
    ],
    [
      'the profile of the option before keys in the environment',
      { AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_ACCESS_KEY: 'x' },
      { profile: 'dev' },
      'AKIADEV',
    ],
    ['the environment, where AWS_PROFILE is empty', { AWS_PROFILE: '' }, {}, 'AKIADEFAULT'],
  ])('are read from %s', async (_label, env, options, accessKeyId) => {
    Object.assign(process.env, env)
    expect(await signerOf(options)).toBe(accessKeyId)
  })

  it('include the session token of a profile', async () => {
    const login = auroraDsql({ host: HOST, user: 'app', profile: 'dev' })
    expect(presigned(await login.password()).sessionToken).toBe('dev-session')
  })

  it('are looked up once for two logins of one process with two profiles', async () => {
    const one = auroraDsql({ host: HOST, user: 'app', profile: 'dev' })
    const other = auroraDsql({ host: HOST, user: 'app', profile: 'default' })
    const tokens = await Promise.all([
      ...Array.from({ length: 25 }, () => one.password()),
      other.password(),
    ])
    expect(tokens.map((token) => presigned(token).accessKeyId)).toEqual([
      ...Array.from({ length: 25 }, () => 'AKIADEV'),
      'AKIADEFAULT',
    ])
    expect([one.stats().credentialCalls, other.stats().credentialCalls]).toEqual([1, 1])
  })

  it('are read from the profile in the environment of loginFromEnv', async () => {
    const login = createAuroraDsql({}, { PGHOST: HOST, PGUSER: 'app', AWS_PROFILE: 'dev' })
    expect(presigned(await login.password()).accessKeyId).toBe('AKIADEV')
  })
})

describe('missing credentials', () => {
  it('are reported with all sources that were tried', async () => {
    process.env['AWS_SHARED_CREDENTIALS_FILE'] = '/no/such/file'
    const error = await rejectionOf(auroraDsql({ host: HOST, user: 'app' }).token())
    expect(error).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      message: 'could not get AWS credentials',
      hint: 'Looked for credentials in the environment (AWS_ACCESS_KEY_ID), the shared AWS files, SSO, web identity, a credential process, and the container and instance metadata.',
      cause: expect.objectContaining({ name: 'CredentialsProviderError' }),
    })
  })

  it('are reported with the profile that was selected', async () => {
    for (const profile of ['none', 'broken']) {
      const error = await rejectionOf(auroraDsql({ host: HOST, user: 'app', profile }).token())
      expect(error).toMatchObject({
        code: 'ERR_CREDENTIALS_UNAVAILABLE',
        hint: expect.stringContaining(`the shared AWS files (profile "${profile}")`),
      })
      expect(printed(error)).not.toContain('CANARY')
    }
  })

  it('are looked up again for each connection', async () => {
    delete process.env['AWS_SHARED_CREDENTIALS_FILE']
    const login = auroraDsql({ host: HOST, user: 'app' })
    await rejectionOf(login.token())
    Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'AKIALATER', AWS_SECRET_ACCESS_KEY: 'x' })
    expect(presigned(await login.password()).accessKeyId).toBe('AKIALATER')
    expect(login.stats()).toMatchObject({ tokensFailed: 1, tokensMade: 1, credentialCalls: 2 })
  })

  it.each<[string, AuroraDsqlOptions, string]>([
    [
      'the function',
      { credentials: () => Promise.reject(new Error('vault is sealed')) },
      'Called the function given as "credentials".',
    ],
    [
      'the value',
      { credentials: { ...CREDENTIALS, expiration: new Date(0) } },
      'Used the value given as "credentials"; give a function if they expire.',
    ],
  ])('are reported with the given %s', async (_label, options, hint) => {
    const error = await rejectionOf(auroraDsql({ host: HOST, user: 'app', ...options }).token())
    expect(error).toMatchObject({ code: 'ERR_CREDENTIALS_UNAVAILABLE', hint })
    expect(printed(error)).not.toContain(CREDENTIALS.secretAccessKey)
  })
})
