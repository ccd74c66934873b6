import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { PgIamError } from '../../../core/index.js'
import { createToken, isTransientFailure } from '../../../core/tokens/token.js'
import { rejectionOf } from '../support/caught.js'
import { printed } from '../support/printed.js'

describe('createToken', () => {
  const expiresAt = new Date('2026-01-02T03:04:05Z')
  const token = createToken('CANARY', expiresAt, 'app')

  it('has a value, an expiry and, if the issuer names it, a user', () => {
    expect([token.value, token.expiresAt, token.user]).toEqual(['CANARY', expiresAt, 'app'])
    expect(createToken('x', expiresAt)).not.toHaveProperty('user')
  })

  it('hides its value from anything that prints or copies it', () => {
    expect(printed(token)).not.toContain('CANARY')
    expect(inspect({ nested: [token] }, { depth: 10, showHidden: true })).not.toContain('CANARY')
    expect(printed(structuredClone({ ...token }))).not.toContain('CANARY')
    expect([token as unknown, ...Object.values(token)].join()).not.toContain('CANARY')
    expect(JSON.parse(JSON.stringify(token))).toEqual({
      expiresAt: '2026-01-02T03:04:05.000Z',
      user: 'app',
    })
  })

  it('shows its expiry when printed', () => {
    expect(inspect(token)).toBe('Token { expires 2026-01-02T03:04:05.000Z }')
    expect(inspect(createToken('x', new Date(NaN)))).toBe('Token { expires at an unknown time }')
  })

  it('cannot be changed, not even through its Date', () => {
    expect(Object.isFrozen(token)).toBe(true)
    const given = new Date(1_000)
    const made = createToken('x', given)
    given.setTime(5_000)
    made.expiresAt.setTime(9_000)
    expect(made.expiresAt.getTime()).toBe(1_000)
  })
})

const failure = (properties: object): Error => Object.assign(new Error('x'), properties)

describe('isTransientFailure', () => {
  it.each([
    ['a refused connection', failure({ code: 'ECONNREFUSED' })],
    ['a connection that was cut', failure({ code: 'ECONNRESET' })],
    ['a name that cannot be looked up now', failure({ code: 'EAI_AGAIN' })],
    ['a timeout of fetch', failure({ code: 'UND_ERR_HEADERS_TIMEOUT' })],
    ['an AbortSignal.timeout()', new DOMException('x', 'TimeoutError')],
    ['throttling by AWS', failure({ name: 'Throttling', $metadata: { httpStatusCode: 400 } })],
    ['a 503 of AWS', failure({ name: 'x', $metadata: { httpStatusCode: 503 } })],
    ['a 429 of Azure', failure({ statusCode: 429 })],
    ['a 500 of Google', failure({ response: { status: 500 } })],
    ['a cause of that kind', failure({ cause: failure({ code: 'ETIMEDOUT' }) })],
    ['one of several attempts', new AggregateError([new Error('x'), failure({ code: 'EPIPE' })])],
    ['a retryable PgIamError', new PgIamError('ERR_TOKEN_TIMEOUT', 'x', { retryable: true })],
  ])('is true for %s', (_label, error) => {
    expect(isTransientFailure(error)).toBe(true)
  })

  it.each([
    ['no permission', failure({ name: 'AccessDenied', $metadata: { httpStatusCode: 403 } })],
    ['a wrong request', failure({ statusCode: 400 })],
    [
      'a response with the status 404, even with a retryable cause',
      failure({ status: 404, cause: failure({ code: 'ECONNRESET' }) }),
    ],
    ['a certificate that is not trusted', failure({ code: 'SELF_SIGNED_CERT_IN_CHAIN' })],
    ['a missing file', failure({ code: 'ENOENT' })],
    [
      'a PgIamError that is not retryable, even with a retryable cause',
      new PgIamError('ERR_PEER_MISSING', 'x', { cause: failure({ code: 'ECONNRESET' }) }),
    ],
    ['a plain error', new Error('x')],
    ['a string', 'ECONNRESET'],
    ['nothing', undefined],
    ['null', null],
  ])('is false for %s', (_label, error) => {
    expect(isTransientFailure(error)).toBe(false)
  })

  it('terminates if an error is its own cause', () => {
    const error = new Error('x')
    error.cause = error
    expect(isTransientFailure(error)).toBe(false)
  })

  it('recognises the error of fetch for an unreachable server', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    const error = await rejectionOf(fetch(`http://127.0.0.1:${port}`))
    expect(isTransientFailure(error)).toBe(true)
  })
})
