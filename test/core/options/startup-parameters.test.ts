import { givenParameters, startupParameters } from '../../../core/options/startup-parameters.js'

describe('startupParameters', () => {
  it('are stored as text, by lower-case name', () => {
    const given = {
      TimeZone: 'UTC',
      statement_timeout: 5_000,
      jit: false,
      'app.x': 'y',
      a: undefined,
    }
    expect(startupParameters(given, 'startupParameters')).toEqual({
      timezone: 'UTC',
      statement_timeout: '5000',
      jit: 'false',
      'app.x': 'y',
    })
    expect(startupParameters({ client_encoding: 'utf8' }, 's')).toEqual({ client_encoding: 'UTF8' })
  })

  it.each([
    [
      { application_name: 'web\0user\0admin' },
      'ERR_OPTION_INVALID',
      /^"s.application_name" must be/,
    ],
    [{ application_name: '' }, 'ERR_OPTION_INVALID', /^"s.application_name" must be/],
    [{ application_name: {} }, 'ERR_OPTION_INVALID', /^"s.application_name" must be/],
    [{ 'a\0user': 'admin' }, 'ERR_OPTION_INVALID', /^"s" must be run-time parameters/],
    [{ '_pq_.x': '1' }, 'ERR_OPTION_INVALID', /^"s" must be run-time parameters/],
    [{ user: 'admin' }, 'ERR_OPTION_CONFLICT', /^"s.user" must not be given/],
    [{ Database: 'shop' }, 'ERR_OPTION_CONFLICT', /^"s.Database" must not be given/],
    [{ client_encoding: 'latin1' }, 'ERR_OPTION_INVALID', /^"s.client_encoding" must be "UTF8"/],
    ['application_name=x', 'ERR_OPTION_INVALID', /^"s" must be run-time parameters/],
  ])('of %j are rejected', (given, code, message) => {
    expect(() => startupParameters(given, 's')).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    )
  })
})

describe('givenParameters', () => {
  it('are the options with a value, including 0', () => {
    const given = { application_name: '', statement_timeout: 0, lock_timeout: null, max: 5 }
    const names = {
      application_name: 'application_name',
      statement_timeout: 'statement_timeout',
      lock_timeout: 'lock_timeout',
    }
    expect(givenParameters(given, names)).toEqual(['statement_timeout'])
  })

  it('rejects a NUL, which would inject another parameter', () => {
    expect(() => givenParameters({ 'a\0user': 'admin' })).toThrow('must be a name without NUL')
    expect(() => givenParameters({ a: 'x\0user\0admin' }, undefined, 'connection.')).toThrow(
      '"connection.a" must be a non-empty string without NUL characters',
    )
  })
})
