import * as fc from 'fast-check'
import { claimsOf, userFromClaims } from '../../../../core/providers/entra/user-name.js'
import {
  systemAssignedIdentity,
  userAssignedIdentity,
} from '../../../support/issuers/entra-claims.js'

const jwt = (payload: string): string => `e30.${Buffer.from(payload).toString('base64url')}.c2ln`

describe('claimsOf', () => {
  it('reads the claims of a token, whoever signed it', () => {
    expect(claimsOf(jwt('{"upn":"jürgen@example.com"}'))).toEqual({ upn: 'jürgen@example.com' })
  })

  it.each([
    '',
    'x',
    'a.b',
    jwt('{}').slice(4),
    `${jwt('{}')}.more`,
    jwt(''),
    jwt('[]'),
    jwt('null'),
    jwt('"text"'),
    jwt('{"upn":'),
  ])('finds none in %j', (token) => {
    expect(claimsOf(token)).toBeUndefined()
  })

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), (a, b, c) => {
        claimsOf(a)
        claimsOf(`${a}.${b}.${c}`)
        claimsOf(jwt(b))
      }),
    )
  })
})

describe('userFromClaims', () => {
  const all = {
    xms_mirid: userAssignedIdentity('shop-identity'),
    upn: 'upn@example.com',
    preferred_username: 'preferred@example.com',
    unique_name: 'unique@example.com',
    appid: 'no name',
    sub: 'no name',
  }
  const without = (...names: (keyof typeof all)[]): object =>
    Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name as never)))

  it.each<[object, string, string]>([
    [all, 'shop-identity', 'xms_mirid'],
    [without('xms_mirid'), 'upn@example.com', 'upn'],
    [without('xms_mirid', 'upn'), 'preferred@example.com', 'preferred_username'],
    [without('xms_mirid', 'upn', 'preferred_username'), 'unique@example.com', 'unique_name'],
    // The claims of a user go before the name of a machine.
    [
      { ...all, xms_mirid: systemAssignedIdentity('Microsoft.Compute/virtualMachines', 'vm') },
      'upn@example.com',
      'upn',
    ],
    [{ ...all, upn: '' }, 'shop-identity', 'xms_mirid'],
    [{ upn: '', unique_name: 'unique@example.com' }, 'unique@example.com', 'unique_name'],
    [{ upn: 5, unique_name: 'unique@example.com' }, 'unique@example.com', 'unique_name'],
    [{ upn: 'a\u0000b', unique_name: 'unique@example.com' }, 'unique@example.com', 'unique_name'],
  ])('takes from %j "%s" of %s', (claims, user, claim) => {
    expect(userFromClaims(claims as Record<string, unknown>)).toEqual({ user, claim })
  })

  it.each([
    ['Microsoft.Compute/virtualMachines', 'vm-1', 'vm-1'],
    ['Microsoft.Web/sites', 'shop', 'shop'],
    ['Microsoft.Web/sites', 'shop/slots/staging', 'shop/slots/staging'],
    ['Microsoft.App/containerApps', 'shop', 'shop'],
  ])('names the identity of a resource (%s) after it: %s', (type, name, user) => {
    const claims = { xms_mirid: systemAssignedIdentity(type, name) }
    expect(userFromClaims(claims)).toEqual({ user, claim: 'xms_mirid' })
  })

  it('takes the type of an identity in any letters', () => {
    const xms_mirid = userAssignedIdentity('Shop').replace('Microsoft.Managed', 'microsoft.managed')
    expect(userFromClaims({ xms_mirid, upn: 'x' })).toEqual({ user: 'Shop', claim: 'xms_mirid' })
  })

  it.each([
    {},
    { appid: 'x', oid: 'x', sub: 'x', app_displayname: 'x' },
    { xms_mirid: 'shop' },
    { xms_mirid: '/subscriptions/x' },
    { xms_mirid: userAssignedIdentity('') },
    { xms_mirid: systemAssignedIdentity('Microsoft.Web/sites', '/') },
    { xms_mirid: 5 },
  ])('finds none in %j', (claims) => {
    expect(userFromClaims(claims)).toBeUndefined()
  })
})
