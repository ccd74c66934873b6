import { upstreamAddress } from '../../../../gateway/engines/upstream/upstream-address.js'

describe('upstreamAddress', () => {
  const cases: [given: string, address: object][] = [
    ['postgres://localhost', { host: 'localhost' }],
    ['postgresql://localhost:5433/orders', { host: 'localhost', port: 5433, database: 'orders' }],
    ['postgres://:s%3Acret@127.0.0.1/', { host: '127.0.0.1', password: 's:cret' }],
    ['postgres://[::1]:5433/', { host: '::1', port: 5433 }],
    [
      'postgres://%2Fvar%2Frun%2Fpostgresql/orders',
      { host: '/var/run/postgresql', database: 'orders' },
    ],
    [
      'postgres:///orders?host=/var/run/postgresql&port=5433',
      { host: '/var/run/postgresql', port: 5433, database: 'orders' },
    ],
    ['postgres://localhost/%C3%A9?sslmode=prefer', { host: 'localhost', database: 'é' }],
  ]
  it.each(cases)('reads %s', (given, address) => {
    expect(upstreamAddress(given, 'upstream')).toEqual(address)
  })

  it('takes an object as it is', () => {
    const given = { host: '/tmp', port: 5433, database: 'd', password: 'p' }
    expect(upstreamAddress(given, 'upstream')).toEqual(given)
  })
})
