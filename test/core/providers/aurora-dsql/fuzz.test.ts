import * as fc from 'fast-check'
import {
  isPgIamError,
  type AuroraDsqlOptions,
  type Login,
  type PgIamError,
} from '../../../../core/index.js'
import { createAuroraDsql } from '../../../../core/providers/aurora-dsql/aurora-dsql.js'
import { thrownBy } from '../../support/caught.js'
import { OPTIONS } from '../../support/dsql-options.js'
import { printed } from '../../support/printed.js'

/** Every option there is, as the refusal of an unknown one lists them. */
const NAMES = /^Known are: (.*)\.$/
  .exec(
    (
      thrownBy(() =>
        createAuroraDsql({ 'no such option': 1 } as AuroraDsqlOptions, {}),
      ) as PgIamError
    ).hint ?? '',
  )![1]!
  .split(', ')
const CODES = ['ERR_OPTION_INVALID', 'ERR_OPTION_CONFLICT', 'ERR_TLS_UNVERIFIED']

/** Anything at all, and more often what looks a little like the real thing. */
const anything = fc.oneof(
  fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withNullPrototype: true,
  }),
  fc.func(fc.anything()),
  fc.constantFrom<unknown>(
    Symbol('s'),
    new Proxy({}, {}),
    Promise.resolve(),
    /x/,
    Buffer.from('x'),
    new Error('x'),
  ),
  fc.record(
    {
      host: fc.anything(),
      port: fc.anything(),
      ca: fc.anything(),
      servername: fc.anything(),
      negotiation: fc.anything(),
      rejectUnauthorized: fc.anything(),
      roleArn: fc.anything(),
      accessKeyId: fc.anything(),
      secretAccessKey: fc.anything(),
      sessionToken: fc.anything(),
      expiration: fc.anything(),
    },
    { requiredKeys: [] },
  ),
)

function attempt(options: object, env: Record<string, string> = {}): Login | Error {
  try {
    return createAuroraDsql(options, env)
  } catch (error) {
    return error as Error
  }
}

describe('auroraDsql given anything', () => {
  it('knows the options that are tried here', () => {
    expect(NAMES).toEqual(
      expect.arrayContaining(['host', 'port', 'database', 'user', 'tls', 'credentials']),
    )
  })

  it('makes a login or refuses with one of three codes, for any value of any option', () => {
    fc.assert(
      fc.property(fc.constantFrom(...NAMES), anything, (name, value) => {
        const { credentials: _unused, ...options } = OPTIONS
        const result = attempt({ ...options, [name]: value })
        if (!(result instanceof Error)) return
        expect(isPgIamError(result) && CODES.includes(result.code)).toBe(true)
        // The message names the option, and is one line that fits into a log.
        expect(result.message).toMatch(new RegExp(`^"(${name}|user|region)(\\[\\d+\\])?[".]`))
        expect(result.message).not.toContain('\n')
      }),
      { numRuns: 2_000 },
    )
  })

  it('makes a login or refuses with one of three codes, for any keys and any environment', () => {
    const variable = fc.constantFrom(
      'PGHOST',
      'PGPORT',
      'PGDATABASE',
      'PGUSER',
      'PGSSLROOTCERT',
      'PGSSLMODE',
      'AWS_REGION',
      'AWS_DEFAULT_REGION',
      'AWS_PROFILE',
    )
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), anything),
        fc.dictionary(variable, fc.string()),
        (options, env) => {
          const result = attempt(options, env)
          if (result instanceof Error) {
            expect(isPgIamError(result) && CODES.includes(result.code)).toBe(true)
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  it('never changes what it was given', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('connectTo', 'tls', 'assumeRole', 'credentials'),
        fc.object(),
        (name, value) => {
          const before = structuredClone(value)
          attempt({ ...OPTIONS, credentials: undefined, [name]: value })
          expect(value).toEqual(before)
        },
      ),
    )
  })

  const SECRET = 'CANARY/bPxRfiCYEXAMPLEKEY+wJalrXUtnFEMI7'
  const secretValues = [
    SECRET,
    `${SECRET}\n`,
    `postgres://app:${SECRET}@h/db`,
    `app:CANARY@h`,
    `password=CANARY`,
    `x?X-Amz-Signature=CANARY`,
    'eyJCANARY.a.b',
    `-----BEGIN PRIVATE KEY-----CANARY`,
  ]

  it.each(NAMES)('shows no secret that was given as "%s" by mistake', (name) => {
    for (const value of [
      ...secretValues,
      ...secretValues.map((text) => [text]),
      { [name]: SECRET },
    ]) {
      const result = attempt({ ...OPTIONS, credentials: undefined, [name]: value })
      if (result instanceof Error) expect(printed(result)).not.toContain('CANARY')
    }
  })

  it.each(['accessKeyId', 'secretAccessKey', 'sessionToken', 'expiration'])(
    'shows nothing of the credentials when "%s" is wrong, however short it is',
    (name) => {
      const right = { accessKeyId: 'CANARY', secretAccessKey: 'CANARY', sessionToken: 'CANARY' }
      for (const value of ['CANARY\n', '', 5, null, ['CANARY']]) {
        const result = attempt({ ...OPTIONS, credentials: { ...right, [name]: value } })
        expect(result).toBeInstanceOf(Error)
        expect(printed(result)).not.toContain('CANARY')
      }
    },
  )
})
