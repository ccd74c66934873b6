import { auroraDsql, type Login } from '../../../core/index.js'
import { runTransaction, type TransactionRun } from '../../../core/transactions/run-transaction.js'
import { rejectionOf } from '../support/caught.js'
import { OPTIONS } from '../support/dsql-options.js'

const coded = (code: string): Error => Object.assign(new Error(code), { code })

interface Fake {
  run: (change?: Partial<TransactionRun<string, unknown>>) => Promise<unknown>
  log: string[]
}

/** A client whose COMMITs and ROLLBACKs fail with the given errors, in order. */
function client({
  commit = [],
  rollback = [],
}: { commit?: unknown[]; rollback?: unknown[] } = {}): Fake {
  const log: string[] = []
  const own = {}
  const step = (name: string, failures: unknown[]): void => {
    log.push(name)
    const failure = failures.shift()
    if (failure !== undefined) throw failure
  }
  return {
    log,
    run: (change = {}) =>
      runTransaction<string, unknown>({
        client: own,
        login: undefined,
        retry: { baseDelayMs: 0 },
        fn: async () => 'result',
        attempt: async (work) => {
          log.push('begin')
          try {
            const result = await work('transaction')
            step('commit', commit)
            return result
          } catch (error) {
            if (!log.at(-1)?.startsWith('commit')) step('rollback', rollback)
            throw error
          }
        },
        ...change,
      }),
  }
}

describe('runTransaction', () => {
  it('passes the transaction to the function, and returns its result', async () => {
    const { run, log } = client()
    await expect(run({ fn: (transaction) => `${transaction} done` })).resolves.toBe(
      'transaction done',
    )
    expect(log).toEqual(['begin', 'commit'])
  })

  it('retries the whole transaction after a conflict in a statement or at COMMIT, and counts it on the login', async () => {
    const login: Login = auroraDsql(OPTIONS)
    const { run, log } = client({ commit: [coded('40001')] })
    let calls = 0
    const fn = async (): Promise<string> => {
      if (++calls === 1) throw coded('OC000')
      return 'done'
    }
    await expect(run({ fn, login })).resolves.toBe('done')
    expect(log).toEqual(['begin', 'rollback', 'begin', 'commit', 'begin', 'commit'])
    expect(login.stats().conflictsRetried).toBe(2)
  })

  it('uses the retry options of the login unless the call overrides them', async () => {
    const login = auroraDsql({ ...OPTIONS, retry: { maxAttempts: 2, baseDelayMs: 0 } })
    const fn = (): Promise<never> => Promise.reject(coded('40001'))
    const first = client()
    expect(await rejectionOf(first.run({ fn, login, retry: {} }))).toMatchObject({
      code: 'ERR_OCC_EXHAUSTED',
    })
    expect(first.log.filter((step) => step === 'begin')).toHaveLength(2)
    const second = client()
    await rejectionOf(second.run({ fn, login, retry: { maxAttempts: 3 } }))
    expect(second.log.filter((step) => step === 'begin')).toHaveLength(3)
  })

  it('rejects with the error of the function, not with that of the ROLLBACK after it', async () => {
    const failure = new Error('mine')
    const { run } = client({ rollback: [new Error('not queryable')] })
    expect(await rejectionOf(run({ fn: () => Promise.reject(failure) }))).toBe(failure)
  })

  it.each<[string, unknown]>([
    ['a lost connection', Object.assign(new Error('x'), { code: 'ECONNRESET' })],
    ['class 08', coded('08006')],
    ['class 57', coded('57P01')],
    ['XX000', coded('XX000')],
    ['an error without a code', new Error('Connection terminated unexpectedly')],
  ])(
    'rejects with ERR_OUTCOME_UNKNOWN, without a retry, if COMMIT ends with %s',
    async (_label, cause) => {
      const { run, log } = client({ commit: [cause] })
      const error = await rejectionOf(run())
      expect(error).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN', retryable: false, cause })
      expect(log).toEqual(['begin', 'commit'])
    },
  )

  it("passes on the server's error for COMMIT", async () => {
    const failure = coded('23503')
    expect(await rejectionOf(client({ commit: [failure] }).run())).toBe(failure)
  })

  it('rejects a transaction function inside another of the same client, and a given outer transaction', async () => {
    const { run } = client()
    expect(await rejectionOf(run({ fn: () => run() }))).toMatchObject({
      code: 'ERR_TRANSACTION_NESTED',
    })
    expect(await rejectionOf(run({ isNested: true }))).toMatchObject({
      code: 'ERR_TRANSACTION_NESTED',
    })
    const other = client()
    await expect(run({ fn: () => other.run() })).resolves.toBe('result')
  })

  it('may be called again after it has ended, also from code that was started inside it', async () => {
    const { run } = client()
    let release: (() => void) | undefined
    const released = new Promise<void>((resolve) => (release = resolve))
    let later: Promise<unknown> | undefined
    await run({
      fn: async () => {
        later = released.then(() => run())
      },
    })
    release?.()
    await expect(later).resolves.toBe('result')
  })

  it('rejects a value that is not a function', async () => {
    expect(await rejectionOf(client().run({ fn: 'x' as never }))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
    })
  })
})
