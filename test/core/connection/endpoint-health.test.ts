import {
  createEndpointHealth,
  type EndpointHealth,
} from '../../../core/connection/endpoint-health.js'
import type { Endpoint } from '../../../core/connection/log-in.js'

const endpoint = (host: string): Endpoint => ({
  host,
  address: { host, port: 5432 },
  tls: { rejectUnauthorized: true, minVersion: 'TLSv1.2', servername: host },
  negotiation: 'postgres',
  resolve: () => Promise.reject(new Error('no token here')),
})

const first = endpoint('first')
const second = endpoint('second')

let now: number
let set: EndpointHealth
beforeEach(() => {
  now = 0
  set = createEndpointHealth([first, second], { now: () => now, random: () => 1 })
  set.markFailed(first)
  now = 1_000
})

describe('an endpoint after its cooldown', () => {
  it('is tried by one connection, while it is still cooling down for the others', () => {
    expect(set.inOrder()).toEqual([first, second])
    expect(set.inOrder()).toEqual([second, first])
    expect(set.coolingDown()).toEqual([first])
  })

  it('is tried by all connections once it was reachable', () => {
    set.inOrder()
    set.markReachable(first)
    expect([set.inOrder(), set.inOrder()]).toEqual([
      [first, second],
      [first, second],
    ])
    expect(set.coolingDown()).toEqual([])
  })

  it('cools down for twice as long when it fails again', () => {
    set.inOrder()
    set.markFailed(first)
    now += 1_999
    expect(set.inOrder()).toEqual([second, first])
    now += 1
    expect(set.inOrder()).toEqual([first, second])
  })

  it('is tried by another connection if the first has no result after ten seconds', () => {
    set.inOrder()
    now += 10_000
    expect(set.inOrder()).toEqual([first, second])
  })
})

describe('createEndpointHealth', () => {
  it('returns all endpoints as given, independently of their state', () => {
    expect(set.all).toEqual([first, second])
  })
})
