import { insertInChunks, PgIamError, retryOnConflict } from '../../../core/index.js'
import { rejectionOf } from '../support/caught.js'

const rows = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const withCode = (code: string, message = code): Error =>
  Object.assign(new Error(message), { code })

describe('insertInChunks', () => {
  it('inserts at most 3,000 rows at a time, in their order, and returns the results', async () => {
    const all = rows(6_001)
    const chunks: number[][] = []
    const results = await insertInChunks(all, async (chunk, index) => {
      chunks.push(chunk)
      return index
    })
    expect(results).toEqual([0, 3_000, 6_000])
    expect(chunks.map(({ length }) => length)).toEqual([3_000, 3_000, 1])
    expect(chunks.flat()).toEqual(all)
  })

  it('gives each attempt all rows of the chunk, also if the one before has emptied its list', async () => {
    const inserted: number[] = []
    let attempt = 0
    await insertInChunks(
      rows(3),
      async (chunk) => {
        const taken = chunk.splice(0)
        if (++attempt === 1) throw withCode('40001')
        inserted.push(...taken)
      },
      { baseDelayMs: 0 },
    )
    expect(inserted).toEqual(rows(3))
  })

  it('counts no rows as inserted if the chunks are too much for one transaction, which they then share', async () => {
    const error = await rejectionOf(
      insertInChunks(
        rows(2),
        async (_, index) => {
          if (index > 0) throw withCode('54000', 'transaction row limit exceeded')
        },
        { maxRows: 1 },
      ),
    )
    expect(error).toMatchObject({
      code: 'ERR_CHUNK_FAILED',
      retryable: false,
      hint: expect.stringContaining(
        '"insert" must not use a transaction that is already open',
      ) as string,
    })
    expect(error).not.toHaveProperty('insertedRows')
  })

  it('calls nothing for no rows', async () => {
    expect(await insertInChunks([], () => Promise.reject(new Error('called')))).toEqual([])
  })

  it('inserts a chunk again after a conflict, and only that one', async () => {
    const seen: number[] = []
    const retries: number[] = []
    await insertInChunks(
      rows(4),
      async (_, index) => {
        seen.push(index)
        if (index === 2 && seen.length === 2) throw withCode('40001')
      },
      { maxRows: 2, baseDelayMs: 0, onRetry: ({ attempt }) => void retries.push(attempt) },
    )
    expect(seen).toEqual([0, 2, 2])
    expect(retries).toEqual([1])
  })

  it.each([
    ['a duplicate key', withCode('23505'), 'rows 2 to 3 could not be inserted', 'rows.slice(2)'],
    [
      'an error without a code',
      new TypeError('x'),
      'rows 2 to 3 could not be inserted',
      'slice(2)',
    ],
    [
      'a conflict in each attempt',
      withCode('OC001'),
      'rows 2 to 3 could not be inserted',
      'rows.slice(2)',
    ],
    [
      'a lost connection',
      withCode('ECONNRESET'),
      'the connection was lost while rows 2 to 3 were inserted, so it is unknown whether they are',
      'rows.slice(4) if it is there, or else with rows.slice(2)',
    ],
    [
      'a COMMIT without an answer',
      new PgIamError('ERR_OUTCOME_UNKNOWN', 'unknown'),
      'it is unknown whether they are',
      'row 2',
    ],
  ])('says what is inserted after %s', async (_what, failure, message, hint) => {
    const error = await rejectionOf(
      insertInChunks(
        rows(5),
        async (_, index) => {
          if (index === 2) throw failure
        },
        { maxRows: 2, maxAttempts: 2, baseDelayMs: 0 },
      ),
    )
    expect(error).toMatchObject({
      code: 'ERR_CHUNK_FAILED',
      insertedRows: 2,
      retryable: false,
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    })
    expect((error as Error).message).toMatch(/; the 2 rows before are inserted$/)
    const { cause } = error as { cause: Error }
    expect([cause, cause.cause]).toContain(failure)
  })

  it('is retryable only if nothing is inserted, and the cause is', async () => {
    const fail = (at: number, failure: Error) =>
      rejectionOf(
        insertInChunks(
          rows(2),
          async (_, index) => {
            if (index === at) throw failure
          },
          { maxRows: 1, maxAttempts: 1 },
        ),
      )
    const refused = new PgIamError('ERR_CONNECT_TIMEOUT', 'slow', { retryable: true })
    expect(await fail(0, withCode('40001'))).toMatchObject({ retryable: true, insertedRows: 0 })
    expect(await fail(0, refused)).toMatchObject({ retryable: true, insertedRows: 0 })
    expect(await fail(1, refused)).toMatchObject({ retryable: false, insertedRows: 1 })
    expect(await fail(0, withCode('23505'))).toMatchObject({ retryable: false, insertedRows: 0 })
  })

  it('stops before the next chunk when its signal is aborted', async () => {
    const controller = new AbortController()
    const seen: number[] = []
    const error = await rejectionOf(
      insertInChunks(
        rows(3),
        async (_, index) => {
          seen.push(index)
          controller.abort()
        },
        { maxRows: 1, signal: controller.signal },
      ),
    )
    expect(error).toMatchObject({ insertedRows: 1, cause: { code: 'ERR_ABORTED' } })
    expect(seen).toEqual([0])
  })

  it('is refused inside a transaction function, where the chunks would be one transaction', async () => {
    const nested = retryOnConflict(() => insertInChunks(rows(1), async () => {}))
    expect(await rejectionOf(nested)).toMatchObject({ code: 'ERR_TRANSACTION_NESTED' })
  })

  it.each([
    [[new Set([1]), async () => {}], '"rows" must be a list of rows'],
    [[[1], 'insert'], '"insert" must be a function'],
    [
      [[1], async () => {}, { maxRows: 3_001 }],
      '"maxRows" must be an integer of rows from 1 to 3000',
    ],
    [[[1], async () => {}, { maxrows: 10 }], '"maxrows" is not a known option'],
  ])('refuses %p', async (args, message) => {
    const call = insertInChunks as (...all: unknown[]) => Promise<unknown>
    expect(await rejectionOf(call(...args))).toMatchObject({
      code: 'ERR_OPTION_INVALID',
      message: expect.stringContaining(message),
    })
  })
})
