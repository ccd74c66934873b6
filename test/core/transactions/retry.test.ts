import { type Retry, retryOnConflict } from '../../../core/index.js'
import { attempts } from '../../../core/transactions/retry.js'
import { rejectionOf } from '../support/caught.js'

const conflict = (): Error => Object.assign(new Error('conflict'), { code: 'OC000' })

/** Work that fails with `count` conflicts and then succeeds. */
function meeting(count: number): { fn: (attempt: number) => Promise<string>; attempts: number[] } {
  const seen: number[] = []
  return {
    attempts: seen,
    fn: async (attempt) => {
      seen.push(attempt)
      if (seen.length <= count) throw conflict()
      return 'done'
    },
  }
}

describe('attempts', () => {
  it('retries after each conflict, with full jitter up to a limit that doubles', async () => {
    const pauses: number[] = []
    const retries: Retry[] = []
    let retried = 0
    const { fn, attempts: seen } = meeting(5)
    const options = {
      baseDelayMs: 100,
      maxDelayMs: 500,
      onRetry: (retry: Retry) => void retries.push(retry),
    }
    const result = await attempts(fn, options, {
      random: () => 0.5,
      sleep: async (ms) => void pauses.push(ms),
      retried: () => retried++,
    })
    expect(result).toBe('done')
    expect(seen).toEqual([1, 2, 3, 4, 5, 6])
    expect(pauses).toEqual([50, 100, 200, 250, 250])
    expect(retries.map(({ attempt, delayMs }) => [attempt, delayMs])).toEqual([
      [1, 50],
      [2, 100],
      [3, 200],
      [4, 250],
      [5, 250],
    ])
    expect(retries[0]?.error).toMatchObject({ code: 'OC000' })
    expect(retried).toBe(5)
  })

  it('rejects after maxAttempts, with the last conflict as the cause', async () => {
    const { fn, attempts: seen } = meeting(99)
    const error = await rejectionOf(attempts(fn, { maxAttempts: 3 }, { sleep: async () => {} }))
    expect(error).toMatchObject({
      code: 'ERR_OCC_EXHAUSTED',
      message: 'the transaction failed with a conflict in each of 3 attempts',
      retryable: true,
      cause: expect.objectContaining({ code: 'OC000' }),
    })
    expect(seen).toHaveLength(3)
  })

  it('does not retry other errors, nor conflicts after which an inner call was exhausted', async () => {
    for (const failure of [
      new Error('x'),
      undefined,
      Object.assign(new Error('x'), { code: '23505' }),
    ]) {
      let calls = 0
      const fail = async (): Promise<never> => {
        calls++
        throw failure
      }
      expect(await rejectionOf(attempts(fail, {}, { sleep: async () => {} }))).toBe(failure)
      expect(calls).toBe(1)
    }
    const inner = await rejectionOf(attempts(meeting(9).fn, { maxAttempts: 1 }))
    let calls = 0
    const outer = async (): Promise<never> => {
      calls++
      throw inner
    }
    expect(await rejectionOf(attempts(outer, {}, { sleep: async () => {} }))).toBe(inner)
    expect(calls).toBe(1)
  })

  it('rejects with the error of an onRetry that throws', async () => {
    const failure = new Error('stop')
    const { fn, attempts: seen } = meeting(9)
    const onRetry = (): never => {
      throw failure
    }
    expect(await rejectionOf(attempts(fn, { onRetry }, { sleep: async () => {} }))).toBe(failure)
    expect(seen).toHaveLength(1)
  })
})

describe('retryOnConflict', () => {
  it('runs fn until it succeeds, and passes it the attempt', async () => {
    const { fn, attempts: seen } = meeting(2)
    await expect(retryOnConflict(fn, { baseDelayMs: 0 })).resolves.toBe('done')
    expect(seen).toEqual([1, 2, 3])
  })

  it('runs fn once inside another call, which is retried as a whole', async () => {
    let outer = 0
    let inner = 0
    const result = await retryOnConflict(
      async () => {
        outer++
        return retryOnConflict(async () => {
          if (++inner < 3) throw conflict()
          return 'done'
        })
      },
      { baseDelayMs: 0 },
    )
    expect([result, outer, inner]).toEqual(['done', 3, 3])
  })

  it('retries independently in code that outlives the enclosing call', async () => {
    let release: (() => void) | undefined
    const released = new Promise<void>((resolve) => (release = resolve))
    const { fn } = meeting(1)
    let later: Promise<string> | undefined
    await retryOnConflict(async () => {
      later = released.then(() => retryOnConflict(fn, { baseDelayMs: 0 }))
    })
    release?.()
    await expect(later).resolves.toBe('done')
  })

  it('rejects immediately when its signal aborts, before the first attempt or in a pause', async () => {
    const { fn, attempts: seen } = meeting(9)
    expect(
      await rejectionOf(retryOnConflict(fn, { signal: AbortSignal.abort('why') })),
    ).toMatchObject({
      code: 'ERR_ABORTED',
      cause: 'why',
    })
    expect(seen).toEqual([])
    const controller = new AbortController()
    const options = {
      baseDelayMs: 60_000,
      signal: controller.signal,
      onRetry: () => setImmediate(() => controller.abort()),
    }
    expect(await rejectionOf(retryOnConflict(fn, options))).toMatchObject({ code: 'ERR_ABORTED' })
    expect(seen).toEqual([1])
  })

  it.each<[object, string]>([
    [{ maxAttempts: 0 }, '"maxAttempts" must be an integer of attempts from 1 to 100, got 0'],
    [{ baseDelayMs: -1 }, '"baseDelayMs" must be a number of milliseconds from 0 to 60000, got -1'],
    [
      { maxDelayMs: NaN },
      '"maxDelayMs" must be a number of milliseconds from 0 to 600000, got NaN',
    ],
    [{ signal: {} }, '"signal" must be an AbortSignal, got an object'],
    [{ onRetry: 'log' }, '"onRetry" must be a function, got "log"'],
    [{ maxAttempt: 1 }, '"maxAttempt" is not a known option'],
  ])('rejects the options %p', async (options, message) => {
    expect(await rejectionOf(retryOnConflict(async () => 1, options))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message,
    })
  })

  it('rejects a value that is not a function', async () => {
    const error = await rejectionOf(Promise.resolve().then(() => retryOnConflict('x' as never)))
    expect(error).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: '"fn" must be a function, got "x"',
    })
  })
})
