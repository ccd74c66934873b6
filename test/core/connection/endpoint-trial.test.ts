import { createEndpointSet, type EndpointSet } from '../../../core/connection/endpoint-set.js'
import type { Endpoint } from '../../../core/connection/log-in.js'

const endpoint = (host: string): Endpoint => ({
  host,
  address: { host, port: 5432 },
  tls: { rejectUnauthorized: true, minVersion: 'TLSv1.2', servername: host },
  negotiation: 'postgres',
  find: () => Promise.reject(new Error('no token here')),
})

const first = endpoint('first')
const second = endpoint('second')

let now: number
let set: EndpointSet
beforeEach(() => {
  now = 0
  set = createEndpointSet([first, second], { now: () => now, random: () => 1 })
  set.didNotAnswer(first)
  now = 1_000
})

describe('an endpoint that was left alone for long enough', () => {
  it('is tried by one connection, while the others leave it alone', () => {
    expect(set.inOrder()).toEqual([first, second])
    expect(set.inOrder()).toEqual([second, first])
    expect(set.resting()).toEqual([first])
  })

  it('is tried by all once it has answered', () => {
    set.inOrder()
    set.answered(first)
    expect([set.inOrder(), set.inOrder()]).toEqual([
      [first, second],
      [first, second],
    ])
    expect(set.resting()).toEqual([])
  })

  it('is left alone for twice as long when it did not answer', () => {
    set.inOrder()
    set.didNotAnswer(first)
    now += 1_999
    expect(set.inOrder()).toEqual([second, first])
    now += 1
    expect(set.inOrder()).toEqual([first, second])
  })

  it('is tried by another one when the first has not told in ten seconds what became of it', () => {
    set.inOrder()
    now += 10_000
    expect(set.inOrder()).toEqual([first, second])
  })
})

describe('createEndpointSet', () => {
  it('has all endpoints as given, whatever became of them', () => {
    expect(set.all).toEqual([first, second])
  })
})
