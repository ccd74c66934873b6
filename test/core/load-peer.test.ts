import { loadPeer } from '../../core/load-peer.js'
import { rejectionOf } from './support/caught.js'

describe('loadPeer', () => {
  it('gives what was loaded', async () => {
    const loaded = { made: true }
    await expect(loadPeer('peer', async () => loaded)).resolves.toBe(loaded)
  })

  it.each([
    ['ERR_MODULE_NOT_FOUND', "Cannot find package '@scope/peer' imported from /app/index.js"],
    ['MODULE_NOT_FOUND', "Cannot find module '@scope/peer'\nRequire stack:\n- /app/index.js"],
    ['MODULE_NOT_FOUND', 'Cannot find module "@scope/peer"'],
  ])('says how to install what is missing (%s: %s)', async (code, message) => {
    const cause = Object.assign(new Error(message), { code })
    const error = await rejectionOf(loadPeer('@scope/peer', () => Promise.reject(cause)))
    expect(error).toMatchObject({
      code: 'ERR_PEER_MISSING',
      message: 'the package "@scope/peer" is not installed',
      hint: 'Run: npm install @scope/peer',
      retryable: false,
      cause,
    })
  })

  it.each([
    [
      'a package that the peer misses',
      Object.assign(new Error("Cannot find module 'other'"), { code: 'MODULE_NOT_FOUND' }),
    ],
    [
      'a package whose name only begins alike',
      Object.assign(new Error("Cannot find module 'peer-x'"), { code: 'MODULE_NOT_FOUND' }),
    ],
    ['an error of the peer', new Error("Cannot find module 'peer'")],
    ['undefined', undefined],
    ['null', null],
    ['a string', "Cannot find module 'peer'"],
  ])('passes %s unchanged', async (_label, cause) => {
    expect(await rejectionOf(loadPeer('peer', () => Promise.reject(cause)))).toBe(cause)
  })

  it('tries again after a failure', async () => {
    let calls = 0
    const load = async (): Promise<number> => {
      if (++calls === 1)
        throw Object.assign(new Error("Cannot find module 'peer'"), { code: 'MODULE_NOT_FOUND' })
      return calls
    }
    await expect(loadPeer('peer', load)).rejects.toMatchObject({ code: 'ERR_PEER_MISSING' })
    await expect(loadPeer('peer', load)).resolves.toBe(2)
  })
})
