import { peerError } from '../../core/load-peer.js'

function notFound(code: string | undefined, message: string): Error {
  return Object.assign(new Error(message), { code })
}

describe('peerError', () => {
  it.each([
    ['ERR_MODULE_NOT_FOUND', "Cannot find package '@scope/peer' imported from /app/index.js"],
    ['MODULE_NOT_FOUND', "Cannot find module '@scope/peer'\nRequire stack:\n- /app/index.js"],
    ['MODULE_NOT_FOUND', "Cannot find module '@scope/peer/lib/part'"],
    ['MODULE_NOT_FOUND', 'Cannot find module "@scope/peer"'],
    [undefined, 'Dynamic require of "@scope/peer" is not supported'],
  ])('returns an error with the install command (%s: %s)', (code, message) => {
    const cause = notFound(code, message)
    expect(peerError(cause, 'other', '@scope/peer')).toMatchObject({
      code: 'ERR_PEER_MISSING',
      message: 'the package "@scope/peer" is not installed',
      hint: 'Run: npm install @scope/peer',
      retryable: false,
      cause,
    })
  })

  it.each([
    ['a package that the peer misses', notFound('MODULE_NOT_FOUND', "Cannot find module 'other'")],
    [
      'a package whose name only begins alike',
      notFound('MODULE_NOT_FOUND', "Cannot find module 'peer-x'"),
    ],
    [
      'a package that a file of the peer misses',
      notFound(
        'ERR_MODULE_NOT_FOUND',
        "Cannot find package 'other' imported from /app/node_modules/peer/index.js",
      ),
    ],
    ['an error of the peer', new Error("Cannot find module 'peer'")],
    ['undefined', undefined],
    ['null', null],
    ['a string', "Cannot find module 'peer'"],
    ['an error without a message', { code: 'MODULE_NOT_FOUND' }],
  ])('returns %s unchanged', (_label, cause) => {
    expect(peerError(cause, 'peer')).toBe(cause)
  })
})
