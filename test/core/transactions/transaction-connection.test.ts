import {
  attachLoss,
  commits,
  isFatal,
  isLoss,
  scopeToTransaction,
} from '../../../core/transactions/transaction-connection.js'
import { rejectionOf, thrownBy } from '../support/caught.js'

const lossError = (): Error =>
  Object.assign(new Error('terminating connection'), { code: '57P01', severity: 'FATAL' })

describe('attachLoss', () => {
  it.each([
    'Client has encountered a connection error and is not queryable',
    'insert into "a" - Connection terminated unexpectedly',
    'Query runner already released. Cannot run queries anymore.',
  ])(
    "returns the loss instead of a client's error for a lost connection, as its cause: %s",
    (text) => {
      const [loss, error] = [lossError(), new Error(text)]
      expect(attachLoss(loss, error)).toBe(loss)
      expect(loss.cause).toBe(error)
      expect(Object.keys(loss)).toEqual(['code', 'severity'])
    },
  )

  it('returns the loss instead of a Drizzle error that wraps such an error', () => {
    const inner = new Error('Client has encountered a connection error and is not queryable')
    const loss = lossError()
    expect(attachLoss(loss, new Error('Failed query: commit', { cause: inner }))).toBe(loss)
  })

  it('keeps an error of the caller that wraps such an error, and sets the loss as its cause', () => {
    const inner = new Error('Client has encountered a connection error and is not queryable')
    const [loss, error] = [lossError(), new Error('the order failed', { cause: inner })]
    expect(attachLoss(loss, error)).toBe(error)
    expect([error.cause, inner.cause]).toEqual([inner, loss])
  })

  it('terminates on errors that wrap each other', () => {
    const circular = new Error('the order failed')
    circular.cause = circular
    expect(attachLoss(lossError(), circular)).toBe(circular)
  })

  it.each<[string, unknown]>([
    ['has another cause', new Error('not queryable', { cause: 'y' })],
    ['has another message', new Error('out of stock')],
    ['has a SQLSTATE', Object.assign(new Error('x'), { code: '23505' })],
    ['is frozen', Object.freeze(new Error('out of stock'))],
    ['is a string', 'x'],
    ['is undefined', undefined],
  ])('does not change an error that %s', (_label, error) => {
    const before = (error as { cause?: unknown } | undefined)?.cause
    expect(attachLoss(lossError(), error)).toBe(error)
    expect((error as { cause?: unknown } | undefined)?.cause).toBe(before)
  })

  it('changes nothing if no connection was lost, nor the loss itself', () => {
    const [loss, error] = [lossError(), new Error('not queryable')]
    expect(attachLoss(undefined, error)).toBe(error)
    expect(attachLoss(loss, loss)).toBe(loss)
    expect(['cause' in error, 'cause' in loss]).toEqual([false, false])
  })
})

describe('commits', () => {
  it.each([
    'commit',
    ' COMMIT; ',
    'Commit and chain',
    'commit work',
    'end',
    'END TRANSACTION',
    'insert into a values (1); commit',
    '/* of a job */ commit',
    '-- of a job\ncommit',
    `select 'it''s'; commit`,
    String.raw`select e'it\'s'; commit`,
    `prepare transaction 'a'`,
    `commit prepared 'a'`,
    'do $$ begin perform 1; end $$; commit',
  ])('finds the committing statement in: %s', (text) => {
    expect(commits(text)).toBe(true)
  })

  it.each([
    'rollback',
    'select 1',
    'release savepoint a',
    `insert into a values ('; commit')`,
    'do $$ begin perform 1; end $$',
    'create function f() returns int language sql as $body$ select 1; commit $body$',
    'select case when true then 1 end',
    'select "; commit" from a',
    'prepare a as select 1',
    'select 1 -- ; commit',
    'create function f() returns int language sql begin atomic select 1; end',
    // Must not backtrack, which would take years.
    `${'/* a */\n'.repeat(200)}select 'the end'`,
    undefined,
  ])('finds no committing statement in: %s', (text) => {
    expect(commits(text)).toBe(false)
  })
})

describe('isLoss', () => {
  it.each<[string, unknown]>([
    ['the message of pg', new Error('Connection terminated unexpectedly')],
    ['class 08', Object.assign(new Error('x'), { code: '08006' })],
    ['a shutdown', Object.assign(new Error('x'), { code: '57P01' })],
    [
      'an error that ended the session',
      Object.assign(new Error('x'), { code: '25P03', severity: 'FATAL' }),
    ],
    ['an error of the network', Object.assign(new Error('x'), { code: 'ECONNRESET' })],
    ['CONNECTION_CLOSED', Object.assign(new Error('x'), { code: 'CONNECTION_CLOSED' })],
    [
      'one that wraps such a one',
      new Error('x', { cause: Object.assign(new Error('x'), { code: 'EPIPE' }) }),
    ],
  ])('is true for %s', (_label, error) => {
    expect(isLoss(error, undefined)).toBe(true)
  })

  it.each<[string, unknown]>([
    ['an error of the caller', new Error('out of stock')],
    ['a violated constraint', Object.assign(new Error('x'), { code: '23505', severity: 'ERROR' })],
    [
      'a statement that was cancelled',
      Object.assign(new Error('x'), { code: '57014', severity: 'ERROR' }),
    ],
    ['undefined', undefined],
  ])('is false for %s', (_label, error) => {
    expect(isLoss(error, lossError())).toBe(false)
    expect(isFatal(error)).toBe(false)
  })
})

/** An object with the shape of a `pg.Client`. */
function client(): {
  queries: string[]
  released: number
  processID: number
  query(text: unknown, callback?: unknown): Promise<string>
  release(): void
} {
  return {
    queries: [],
    released: 0,
    processID: 7,
    query(text) {
      this.queries.push(String(text))
      return Promise.resolve('result')
    },
    release() {
      this.released++
    },
  }
}

describe('scopeToTransaction', () => {
  it('passes everything through except the release to the pool', async () => {
    const target = client()
    const lease = scopeToTransaction(target)
    await expect(lease.client.query('select 1')).resolves.toBe('result')
    expect(lease.client.processID).toBe(7)
    lease.client.release()
    expect([target.queries, target.released]).toEqual([['select 1'], 0])
  })

  it('rejects queries after the transaction, in the way in which each kind of query fails', async () => {
    const target = client()
    const lease = scopeToTransaction(target)
    lease.end()
    expect(await rejectionOf(lease.client.query('late'))).toMatchObject({
      code: 'ERR_CLOSED',
      hint: expect.stringContaining('Await each statement'),
    })
    const failed = new Promise((resolve) => void lease.client.query('late', resolve))
    expect(await failed).toMatchObject({ code: 'ERR_CLOSED' })
    expect(thrownBy(() => lease.client.query({ submit: () => {} }))).toMatchObject({
      code: 'ERR_CLOSED',
    })
    expect(target.queries).toEqual([])
    await expect(target.query('by the owner')).resolves.toBe('result')
  })

  it('is clean only if the server confirmed the end of the transaction', async () => {
    const answers = [true, false, true]
    const lease = scopeToTransaction({
      query: (_text: string) =>
        answers.shift() === true ? Promise.resolve() : Promise.reject(new Error('conflict')),
    })
    await lease.client.query('SELECT 1')
    lease.close()
    expect(lease.isClean).toBe(false)
    await rejectionOf(lease.client.query('COMMIT'))
    expect(lease.isClean).toBe(false)
    await lease.client.query('ROLLBACK')
    expect(lease.isClean).toBe(true)
  })

  it('allows COMMIT and ROLLBACK between close() and end(), and keeps the first error', async () => {
    const failures = [new Error('of commit'), new Error('of rollback')]
    const sent: unknown[] = []
    const lease = scopeToTransaction({
      query: (query: unknown) => {
        sent.push(query)
        return Promise.reject(failures[sent.length - 1]!)
      },
    })
    lease.close()
    expect(await rejectionOf(lease.client.query('select 1'))).toMatchObject({ code: 'ERR_CLOSED' })
    expect(lease.endFailure).toBeUndefined()
    expect(await rejectionOf(lease.client.query({ text: 'commit' }))).toBe(failures[0])
    expect(await rejectionOf(lease.client.query(' ROLLBACK; '))).toBe(failures[1])
    expect(lease.endFailure).toBe(failures[0])
    expect(await rejectionOf(lease.client.query('rollback to savepoint a'))).toMatchObject({
      code: 'ERR_CLOSED',
    })
    lease.end()
    expect(await rejectionOf(lease.client.query('rollback'))).toMatchObject({ code: 'ERR_CLOSED' })
    expect(sent).toHaveLength(2)
  })
})
