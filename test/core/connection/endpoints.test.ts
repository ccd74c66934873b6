import { createEndpointSet } from '../../../core/connection/endpoint-set.js'
import type { Endpoint } from '../../../core/connection/log-in.js'
import { tryEndpoints, type EndpointsAttempt } from '../../../core/connection/try-endpoints.js'
import { PgIamError } from '../../../core/index.js'
import { rejectionOf } from '../support/caught.js'

const SECOND = 1_000
const named = (host: string): Endpoint => ({ host }) as Endpoint
const [A, B, C] = [named('a'), named('b'), named('c')]
const hosts = (endpoints: readonly Endpoint[]): string => endpoints.map(({ host }) => host).join('')

describe('createEndpointSet', () => {
  function endpointSet(): {
    set: ReturnType<typeof createEndpointSet>
    pass: (ms: number) => void
  } {
    let now = 1_000_000
    const set = createEndpointSet([A, B, C], { now: () => now, random: () => 1 })
    return { set, pass: (ms) => (now += ms) }
  }

  it('keeps the order in which they were given, but for those that did not answer', () => {
    const { set } = endpointSet()
    expect(hosts(set.inOrder())).toBe('abc')
    set.didNotAnswer(A)
    expect([hosts(set.inOrder()), hosts(set.resting()), hosts(set.all)]).toEqual([
      'bca',
      'a',
      'abc',
    ])
    set.answered(A)
    expect([hosts(set.inOrder()), hosts(set.resting())]).toEqual(['abc', ''])
  })

  it('leaves one that does not answer alone twice as long each time, and lets one connection try it then', () => {
    const { set, pass } = endpointSet()
    for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
      set.didNotAnswer(A)
      pass(seconds * SECOND - 1)
      expect(hosts(set.inOrder())).toBe('bca')
      pass(1)
      expect(hosts(set.inOrder())).toBe('abc')
      // The others leave it to that one.
      expect(hosts(set.inOrder())).toBe('bca')
    }
  })

  it('takes the failures of one outage for one', () => {
    const { set, pass } = endpointSet()
    for (let connection = 0; connection < 50; connection++) set.didNotAnswer(A)
    pass(SECOND)
    expect(hosts(set.inOrder())).toBe('abc')
  })
})

describe('tryEndpoints', () => {
  type Answer = Error | string
  /** Tries endpoints that answer so, in turn: let in, refuse with a SQLSTATE, or fail. */
  function attempt(answers: Record<string, Answer>, endpoints = [A, B, C]) {
    const tried: string[] = []
    const destroyed: string[] = []
    const set = createEndpointSet(endpoints)
    const controller = new AbortController()
    const request = {
      endpoints: set,
      provider: 'aurora-dsql',
      signal: controller.signal,
      parameters: new Map(),
      protocolVersion: 0,
      user: 'app',
    } satisfies EndpointsAttempt
    const run = (): ReturnType<typeof tryEndpoints> =>
      tryEndpoints(request, {
        logIn: async ({ endpoint: { host } }) => {
          tried.push(host)
          const answer = answers[host] ?? 'in'
          if (answer instanceof Error) throw answer
          const socket = { destroy: () => destroyed.push(host) } as never
          return {
            socket,
            received: Buffer.alloc(0),
            ...(answer === 'in' ? {} : { refusedWith: answer }),
          }
        },
      })
    return { run, tried, destroyed, set, abort: () => controller.abort() }
  }

  it('takes the first one that answers', async () => {
    const { run, tried } = attempt({})
    expect((await run()).host).toBe('a')
    expect(tried).toEqual(['a'])
  })

  it.each<Answer>([new Error('ECONNREFUSED'), '57P01', '57P03', '53300', '53200'])(
    'goes to the next one after %s',
    async (answer) => {
      const { run, tried, destroyed } = attempt({ a: answer })
      expect((await run()).host).toBe('b')
      expect(tried).toEqual(['a', 'b'])
      expect(destroyed).toEqual(typeof answer === 'string' ? ['a'] : [])
    },
  )

  it.each(['28000', '28P01', '3D000'])('takes a refusal with %s for an answer', async (code) => {
    const { run, tried, set } = attempt({ a: code })
    expect(await run()).toMatchObject({ host: 'a', refusedWith: code })
    expect([tried, set.resting()]).toEqual([['a'], []])
  })

  it('goes on to those that answered lately, the next time', async () => {
    const { run, tried } = attempt({ a: new Error('x') })
    await run()
    await run()
    expect(tried).toEqual(['a', 'b', 'b'])
  })

  it('does not leave one alone because it has too many connections', async () => {
    const { run, tried } = attempt({ a: '53300' })
    await run()
    await run()
    expect(tried).toEqual(['a', 'b', 'a', 'b'])
  })

  it('gives the last refusal to the driver when all are refused or dead', async () => {
    const { run, destroyed } = attempt({ a: '57P03', b: '53300', c: new Error('x') })
    expect(await run()).toMatchObject({ host: 'b', refusedWith: '53300' })
    expect(destroyed).toEqual(['a'])
  })

  it('fails with the error of a single one as it is, and with all of them else', async () => {
    const [one, two] = [new Error('one'), new Error('two')]
    expect(await rejectionOf(attempt({ a: one }, [A]).run())).toBe(one)
    const error = await rejectionOf(attempt({ a: one, b: two }, [A, B]).run())
    expect(error).toMatchObject({
      code: 'ERR_CONNECT_FAILED',
      message: 'aurora-dsql: could not connect to any of a, b',
      retryable: true,
    })
    expect(((error as PgIamError).cause as AggregateError).errors).toEqual([one, two])
  })

  it('ends where the token fails, which is no fault of an endpoint', async () => {
    const failure = new PgIamError('ERR_CREDENTIALS_UNAVAILABLE', 'x')
    const { run, tried, set, destroyed } = attempt({ a: '57P03', b: failure })
    expect(await rejectionOf(run())).toBe(failure)
    expect([tried, hosts(set.resting()), destroyed]).toEqual([['a', 'b'], 'a', ['a']])
  })

  it('ends where it was given up', async () => {
    const failure = new Error('aborted')
    const { run, tried, abort } = attempt({ a: failure })
    abort()
    expect(await rejectionOf(run())).toBe(failure)
    expect(tried).toEqual(['a'])
  })
})
