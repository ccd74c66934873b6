import { Reception, type ReceptionOptions } from '../../../core/connection/reception.js'
import { READY, errorResponse, message, textRow } from '../support/backend-messages.js'

const GOODBYE = errorResponse('57P01', 'terminating connection')
const NOTHING = Buffer.alloc(0)
const ROW = textRow('x')
const FAILED = Buffer.concat([message('E', Buffer.from('SERROR\0C40001\0Mconflict\0\0')), READY])

const ofTypes = (request: Buffer): boolean => request.toString() === 'types'

function reception(change: Partial<ReceptionOptions> = {}): Reception {
  return new Reception({ hidesLastWords: false, isUnattended: undefined, ...change })
}

/** What the driver may read, and whether the server has said its last word with it. */
function heardBy(by: Reception, chunk: Buffer): { told: Buffer; isLast: boolean } {
  const told = by.received(chunk)
  return { told, isLast: by.lastWords !== undefined }
}

describe('what a driver gets to read', () => {
  it('is what the server sends', () => {
    const plain = reception()
    plain.sent(Buffer.from('select 1'))
    expect(heardBy(plain, ROW)).toEqual({ told: ROW, isLast: false })
    expect(plain.lost()).toEqual(NOTHING)
    expect(plain.lastWords).toBeUndefined()
  })

  it('ends with the last words of the server', () => {
    const plain = reception()
    const chunk = Buffer.concat([ROW, GOODBYE])
    expect(heardBy(plain, chunk)).toEqual({ told: chunk, isLast: true })
    expect(plain.lastWords).toMatchObject({ code: '57P01' })
  })

  it('ends before the last words of the server for a driver that does not understand them', () => {
    const hiding = reception({ hidesLastWords: true })
    expect(heardBy(hiding, Buffer.concat([ROW, GOODBYE]))).toEqual({ told: ROW, isLast: true })
    expect(hiding.lastWords).toMatchObject({ code: '57P01' })
  })
})

describe('an error behind which the connection is lost', () => {
  const ERROR = message('E', Buffer.from('SERROR\0C23505\0Mduplicate key\0\0'))
  const FAILED_READY = message('Z', Buffer.from('E'))

  it('is brought to its end, once, for a driver that would keep it for another query', () => {
    const hiding = reception({ hidesLastWords: true })
    expect(heardBy(hiding, Buffer.concat([ROW, ERROR]))).toMatchObject({ isLast: false })
    expect(hiding.lost()).toEqual(FAILED_READY)
    expect(hiding.lost()).toEqual(NOTHING)

    const ended = reception({ hidesLastWords: true })
    const told = Buffer.concat([ERROR, FAILED_READY])
    expect(heardBy(ended, Buffer.concat([ERROR, GOODBYE]))).toEqual({ told, isLast: true })
  })

  it('is left as it is where it has come to its end, and for any other driver', () => {
    const hiding = reception({ hidesLastWords: true })
    hiding.received(ERROR)
    hiding.received(READY)
    expect(hiding.lost()).toEqual(NOTHING)

    const plain = reception()
    plain.received(ERROR)
    expect(plain.lost()).toEqual(NOTHING)
  })
})

describe('whether a driver may be about to go on', () => {
  const going = (...chunks: Buffer[]): boolean => {
    const hiding = reception({ hidesLastWords: true, isUnattended: ofTypes })
    hiding.sent(Buffer.from('begin'))
    for (const chunk of chunks) hiding.received(chunk)
    return hiding.isGoingOn
  }
  const begun = message('Z', Buffer.from('T'))

  it('is so behind an answer within a transaction', () => {
    expect(going(begun)).toBe(true)
    expect(going(Buffer.concat([begun, GOODBYE]))).toBe(true)
    expect(going(begun, READY)).toBe(false)
    expect(going(READY)).toBe(false)
    expect(going(FAILED)).toBe(false)
    expect(going(begun, ROW.subarray(0, 8))).toBe(false)
  })

  it('is so behind the login, and never for a driver that hears the last words', () => {
    const hiding = reception({ hidesLastWords: true, isUnattended: ofTypes })
    expect(hiding.isGoingOn).toBe(true)
    const plain = reception()
    plain.received(begun)
    expect(plain.isGoingOn).toBe(false)
  })
})

describe('the reply to a request that nobody waits for', () => {
  it('comes when it is whole', () => {
    const guarded = reception({ isUnattended: ofTypes })
    guarded.sent(Buffer.from('types'))
    expect(heardBy(guarded, ROW.subarray(0, 8))).toEqual({ told: NOTHING, isLast: false })
    expect(heardBy(guarded, ROW.subarray(8))).toEqual({ told: ROW, isLast: false })
    expect(heardBy(guarded, FAILED)).toEqual({ told: FAILED, isLast: false })
  })

  it('is empty where the server refuses the request', () => {
    const guarded = reception({ isUnattended: ofTypes })
    guarded.sent(Buffer.from('types'))
    expect(heardBy(guarded, FAILED)).toEqual({ told: READY, isLast: false })
    expect(heardBy(guarded, ROW)).toEqual({ told: ROW, isLast: false })
  })

  it('is empty where the connection is lost, for a driver that would not live through that', () => {
    const guarded = reception({ isUnattended: ofTypes, hidesLastWords: true })
    guarded.sent(Buffer.from('types'))
    guarded.received(ROW.subarray(0, 8))
    expect(guarded.lost()).toEqual(READY)
    expect(guarded.lost()).toEqual(NOTHING)

    const ended = reception({ isUnattended: ofTypes, hidesLastWords: true })
    ended.sent(Buffer.from('types'))
    expect(heardBy(ended, GOODBYE)).toEqual({ told: READY, isLast: true })
  })

  it('is what came of it where the connection is lost, for any other', () => {
    const guarded = reception({ isUnattended: ofTypes })
    guarded.sent(Buffer.from('types'))
    guarded.received(ROW.subarray(0, 8))
    expect(guarded.lost()).toEqual(ROW.subarray(0, 8))
    const ended = reception({ isUnattended: ofTypes })
    ended.sent(Buffer.from('types'))
    expect(heardBy(ended, GOODBYE)).toEqual({ told: GOODBYE, isLast: true })
  })

  it('is looked for among the first requests of a connection only', () => {
    const guarded = reception({ isUnattended: ofTypes })
    guarded.sent(Buffer.from('set'))
    guarded.received(READY)
    guarded.sent(Buffer.from('types'))
    expect(heardBy(guarded, FAILED).told).toEqual(READY)
    guarded.sent(Buffer.from('types'))
    expect(heardBy(guarded, FAILED).told).toEqual(FAILED)

    const late = reception({ isUnattended: ofTypes })
    for (const request of ['one', 'two', 'three', 'types']) late.sent(Buffer.from(request))
    expect(heardBy(late, FAILED).told).toEqual(FAILED)
  })
})
