import { getEventListeners } from 'node:events'
import { unlessAborted } from '../../core/unless-aborted.js'
import { rejectionOf } from './support/caught.js'

describe('unlessAborted', () => {
  it('settles as the work does, and listens to the signal no longer', async () => {
    const { signal } = new AbortController()
    await expect(unlessAborted(Promise.resolve(1), signal)).resolves.toBe(1)
    const failure = new Error('x')
    expect(await rejectionOf(unlessAborted(Promise.reject(failure), signal))).toBe(failure)
    await new Promise((resolve) => setImmediate(resolve))
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('rejects with the reason of the signal, before or after it fired', async () => {
    const reason = new Error('enough')
    const controller = new AbortController()
    const waiting = rejectionOf(unlessAborted(new Promise(() => {}), controller.signal))
    controller.abort(reason)
    expect(await waiting).toBe(reason)
    expect(await rejectionOf(unlessAborted(new Promise(() => {}), controller.signal))).toBe(reason)
  })

  it('does not mind work that fails after the signal fired', async () => {
    const controller = new AbortController()
    let fail: ((error: Error) => void) | undefined
    const waiting = rejectionOf(
      unlessAborted(new Promise((_, reject) => (fail = reject)), controller.signal),
    )
    controller.abort()
    fail?.(new Error('too late'))
    expect(await waiting).toMatchObject({ name: 'AbortError' })
    await new Promise((resolve) => setImmediate(resolve))
  })
})
