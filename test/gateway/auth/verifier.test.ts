import {
  accepted,
  cleartextToken,
  type LoginAttempt,
  type LoginClient,
} from '../../../gateway/auth/verifier.js'

const REQUEST = { role: 'app', database: 'postgres', servername: 'db.example.com' }

/** A client with one response. */
function clientThatSays(answer: string): LoginClient {
  return {
    ask: async () => Buffer.from(answer),
    tell: () => {},
    channelBinding: () => Buffer.alloc(0),
    certificate: () => undefined,
  }
}

describe('cleartextToken', () => {
  it('passes the token and the request to the verifier, and returns its verdict', async () => {
    const attempts: LoginAttempt[] = []
    const verdict = accepted('somebody')
    const method = cleartextToken({
      verify(attempt) {
        attempts.push(attempt)
        return verdict
      },
    })
    expect(await method.authenticate(REQUEST, clientThatSays('tökén\0'))).toBe(verdict)
    expect(attempts).toEqual([{ ...REQUEST, token: 'tökén' }])
  })

  it.each<[what: string, thrown: unknown, kind: string]>([
    ['an error with a code', Object.assign(new Error('canary'), { code: 'ERR_X' }), 'ERR_X'],
    [
      'a failed fetch',
      new TypeError('canary', { cause: Object.assign(new Error(), { code: 'ECONNREFUSED' }) }),
      'ECONNREFUSED',
    ],
    ['any error', new RangeError('canary'), 'RangeError'],
    ['no error', 'canary', 'no error'],
    ['nothing', undefined, 'no error'],
  ])('refuses the login if the verifier throws %s', async (_what, thrown, kind) => {
    const throwing = cleartextToken({
      verify() {
        throw thrown
      },
    })
    const rejecting = cleartextToken({ verify: () => Promise.reject(thrown as Error) })
    for (const method of [throwing, rejecting])
      expect(await method.authenticate(REQUEST, clientThatSays('x\0'))).toEqual({
        refused: {
          reason: 'verifier-failed',
          explanation: `the login could not be checked: ${kind}`,
          told: expect.objectContaining({ sqlState: '58000' }) as unknown,
        },
      })
  })
})
