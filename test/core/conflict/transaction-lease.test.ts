import { lendToTransaction } from '../../../core/conflict/transaction-lease.js'
import { rejectionOf, thrownBy } from '../support/caught.js'

/** Something with the shape of a `pg.Client`. */
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

describe('lendToTransaction', () => {
  it('lends everything but the way back to the pool', async () => {
    const target = client()
    const lease = lendToTransaction(target)
    await expect(lease.client.query('select 1')).resolves.toBe('result')
    expect(lease.client.processID).toBe(7)
    lease.client.release()
    expect([target.queries, target.released]).toEqual([['select 1'], 0])
  })

  it('refuses queries once it is over, in the way in which each would fail', async () => {
    const target = client()
    const lease = lendToTransaction(target)
    lease.end()
    expect(await rejectionOf(lease.client.query('late'))).toMatchObject({
      code: 'ERR_CLOSED',
      hint: expect.stringContaining('Wait for each statement'),
    })
    const failed = new Promise((resolve) => void lease.client.query('late', resolve))
    expect(await failed).toMatchObject({ code: 'ERR_CLOSED' })
    expect(thrownBy(() => lease.client.query({ submit: () => {} }))).toMatchObject({
      code: 'ERR_CLOSED',
    })
    expect(target.queries).toEqual([])
    await expect(target.query('by the owner')).resolves.toBe('result')
  })

  it('knows whether the transaction came to an end that the server confirmed', async () => {
    const answers = [true, false, true]
    const lease = lendToTransaction({
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

  it('lets COMMIT and ROLLBACK pass when it is closed, until it is over, and keeps what failed first', async () => {
    const failures = [new Error('of commit'), new Error('of rollback')]
    const sent: unknown[] = []
    const lease = lendToTransaction({
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
