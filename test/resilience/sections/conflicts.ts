/** Conflicts at COMMIT and in statements: the outermost transaction is retried as a whole, within limits. */
import { isOccConflict, isPgIamError, type Retry } from '../../../core/index.js'
import { rejectionOf } from '../../support/adapter-contract/error-chain.js'
import type { TransactionStatements } from '../../clients/client.js'
import { RDS_HOST } from '../rig.js'
import type { SectionContext } from '../section-context.js'

export function describeConflicts({ connect, rig }: SectionContext): void {
  it.each([
    { at: 'commit', code: 'OC000' },
    { at: 'commit', code: 'OC001' },
    { at: 'statement', code: 'OC000' },
    { at: 'statement', code: 'OC001' },
  ] as const)('runs a transaction again that met $code at a $at', async ({ at, code }) => {
    const { login, client } = connect()
    await client.run('SELECT 1')
    rig().gateway.faults.raiseConflicts({ at, code, times: 2 })
    const retries: Retry[] = []
    let runs = 0
    const result = await client.transaction(
      async (statements) => {
        runs++
        await statements.addNote(1)
        return `run ${runs}`
      },
      { baseDelayMs: 4, maxDelayMs: 5, onRetry: (retry) => retries.push(retry) },
    )
    expect(result).toBe('run 3')
    expect(await rig().notes()).toEqual([1])
    expect(login.stats().conflictsRetried).toBe(2)
    expect(retries.map(({ attempt }) => attempt)).toEqual([1, 2])
    for (const { error, delayMs } of retries) {
      expect(isOccConflict(error)).toBe(true)
      expect(delayMs).toBeGreaterThanOrEqual(0)
      expect(delayMs).toBeLessThanOrEqual(5)
    }
    expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it('counts the conflicts of the first transaction, too', async () => {
    const { login, client } = connect()
    rig().gateway.faults.raiseConflicts()
    await client.transaction((statements) => statements.addNote(1), { baseDelayMs: 0 })
    expect(login.stats().conflictsRetried).toBe(1)
  })

  it('keeps its connection after a failed function, and after a conflict', async () => {
    const { login, client } = connect()
    await client.run('SELECT 1')
    const failure = new Error('out of stock')
    const error = await rejectionOf(
      client.transaction(async (statements) => {
        await statements.addNote(1)
        throw failure
      }),
    )
    expect(error).toBe(failure)
    for (const at of ['commit', 'statement'] as const) {
      rig().gateway.faults.raiseConflicts({ at })
      await client.transaction((statements) => statements.run('SELECT 1'), { baseDelayMs: 0 })
    }
    await client.run('SELECT 1')
    expect(login.stats()).toMatchObject({ connectionsOpened: 1, conflictsRetried: 2 })
    expect(await rig().notes()).toEqual([])
  })

  it('retries the whole transaction when a savepoint fails with a conflict', async () => {
    const { client } = connect()
    await client.run('SELECT 1')
    let runs = 0
    await client.transaction(
      async (statements) => {
        runs++
        await statements.addNote(1)
        if (runs === 1) rig().gateway.faults.raiseConflicts({ at: 'statement' })
        if (statements.nested === undefined) await statements.addNote(2)
        else await statements.nested((inner) => inner.addNote(2))
      },
      { baseDelayMs: 0 },
    )
    expect(runs).toBe(2)
    expect(await rig().notes()).toEqual([1, 2])
  })

  it('rejects after the number of attempts that the call allows', async () => {
    const { login, client } = connect({ retry: { maxAttempts: 5 } })
    rig().gateway.faults.raiseConflicts({ probability: 1 })
    let runs = 0
    const error = await rejectionOf(
      client.transaction(
        async (statements) => {
          runs++
          await statements.addNote(1)
        },
        { maxAttempts: 3, baseDelayMs: 0 },
      ),
    )
    expect(isPgIamError(error, 'ERR_OCC_EXHAUSTED')).toBe(true)
    expect(isOccConflict((error as Error).cause)).toBe(true)
    expect(runs).toBe(3)
    expect(login.stats().conflictsRetried).toBe(2)
    rig().gateway.faults.clear()
    expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(await rig().notes()).toEqual([])
  })

  it('uses the retry options of the login unless the call overrides them', async () => {
    const { client } = connect({ retry: { maxAttempts: 2, baseDelayMs: 0 } })
    rig().gateway.faults.raiseConflicts({ probability: 1 })
    let runs = 0
    const error = await rejectionOf(
      client.transaction(async (statements) => {
        runs++
        await statements.addNote(1)
      }),
    )
    expect(isPgIamError(error, 'ERR_OCC_EXHAUSTED')).toBe(true)
    expect(runs).toBe(2)
  })

  it('stops when the signal aborts, and releases the connection', async () => {
    const { login, client } = connect()
    rig().gateway.faults.raiseConflicts({ probability: 1 })
    const abort = new AbortController()
    const reason = new Error('the request was cancelled')
    let runs = 0
    const error = await rejectionOf(
      client.transaction(
        async (statements) => {
          runs++
          await statements.addNote(1)
        },
        {
          baseDelayMs: 60_000,
          maxDelayMs: 600_000,
          signal: abort.signal,
          onRetry: () => abort.abort(reason),
        },
      ),
    )
    expect(isPgIamError(error, 'ERR_ABORTED')).toBe(true)
    expect((error as Error).cause).toBe(reason)
    expect(runs).toBe(1)
    expect(login.stats().conflictsRetried).toBe(0)
    rig().gateway.faults.clear()
    expect(await client.run('SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it('does not retry a transaction that failed with another error', async () => {
    const { client } = connect()
    const failure = new Error('no more of this')
    let runs = 0
    const run = client.transaction(async (statements) => {
      runs++
      await statements.addNote(1)
      throw failure
    })
    expect(await rejectionOf(run)).toBe(failure)
    expect(runs).toBe(1)
    expect(await rig().notes()).toEqual([])
  })

  it('rejects a transaction inside another one, and lets the outer one commit', async () => {
    const { client } = connect({}, 2)
    let inner: unknown
    await client.transaction(async (statements) => {
      await statements.addNote(1)
      inner = await rejectionOf(client.transaction((nested) => nested.addNote(2)))
    })
    expect(isPgIamError(inner, 'ERR_TRANSACTION_NESTED')).toBe(true)
    expect(await rig().notes()).toEqual([1])
  })

  it('allows a transaction in code that was started inside another one and outlived it', async () => {
    const { client } = connect()
    let begin = (): void => {}
    let outlived: Promise<void> = Promise.resolve()
    await client.transaction(async (statements) => {
      await statements.addNote(1)
      const started = new Promise<void>((resolve) => (begin = resolve))
      outlived = started.then(() => client.transaction((later) => later.addNote(2)))
    })
    begin()
    await outlived
    expect(await rig().notes()).toEqual([1, 2])
  })

  it('rejects a call with the transaction of the client', async () => {
    const { client } = connect({}, 2)
    const { transactionWithin } = client
    // Only if the types of the transaction function allow it. Otherwise only the client's instance can show it.
    const callWithin = async ({ own }: TransactionStatements): Promise<unknown> =>
      transactionWithin === undefined
        ? rejectionOf(client.transaction(async () => {}))
        : rejectionOf(transactionWithin(own, async () => {}))
    const error = await client.transaction(callWithin)
    expect(isPgIamError(error, 'ERR_TRANSACTION_NESTED')).toBe(true)
    if (transactionWithin === undefined) return
    const inOwn = await client.ownTransaction(callWithin)
    expect(isPgIamError(inOwn, 'ERR_TRANSACTION_NESTED')).toBe(true)
  })

  it.each(['repeatable read', 'serializable'] as const)(
    'passes on the isolation level: %s',
    async (isolation) => {
      const { client } = connect({ host: RDS_HOST })
      const [row] = await client.transaction(
        (statements) => statements.run(`SELECT current_setting('transaction_isolation') AS level`),
        { isolation },
      )
      expect(row).toEqual({ level: isolation })
    },
  )

  it.each([
    { maxAttempts: 0 },
    { maxAttempts: 1.5 },
    { baseDelayMs: -1 },
    { maxDelayMs: Number.NaN },
    { signal: {} },
    { onRetry: 'log' },
  ])('rejects %p before anything runs', async (settings) => {
    const { client } = connect()
    let runs = 0
    // oxlint-disable-next-line require-await -- throwing or rejecting is both a refusal
    const call = async (): Promise<void> =>
      client.transaction(async () => void runs++, settings as object)
    const error = await rejectionOf(call())
    expect(isPgIamError(error, 'ERR_OPTION_INVALID')).toBe(true)
    expect((error as Error).message).toContain(`"${Object.keys(settings)[0]}"`)
    expect(runs).toBe(0)
  })
}
