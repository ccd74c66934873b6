import * as fc from 'fast-check'
import { lastWordsError, type LastWords } from '../../../core/connection/last-words.js'
import { Reception } from '../../../core/connection/reception.js'
import { READY, cString, errorResponse, message, textRow } from '../support/backend-messages.js'

const GOODBYE = errorResponse('57P01', 'terminating connection due to administrator command')
const ROW = textRow('x')

function error(...fields: string[]): Buffer {
  return message('E', ...fields.map(cString), Buffer.from([0]))
}

/** What is heard in chunks that follow each other, and where it begins in the last of them. */
function hear(...chunks: Buffer[]): { heard: LastWords | undefined; begin: number | undefined } {
  const reception = new Reception({ hidesLastWords: true, isUnattended: undefined })
  const told = chunks.map((chunk) => reception.received(chunk))
  const heard = reception.lastWords
  return { heard, begin: heard === undefined ? undefined : told.at(-1)?.length }
}

describe('the last words of a server', () => {
  it.each<[string, Buffer[], number]>([
    ['alone', [GOODBYE], 0],
    ['behind a reply', [Buffer.concat([ROW, GOODBYE])], ROW.length],
    [
      'behind a reply that came in pieces',
      [ROW.subarray(0, 9), Buffer.concat([ROW.subarray(9), GOODBYE])],
      ROW.length - 9,
    ],
    [
      'behind a reply whose header came in pieces',
      [ROW.subarray(0, 3), Buffer.concat([ROW.subarray(3), GOODBYE])],
      ROW.length - 3,
    ],
  ])('hears the error that ends the session: %s', (_label, chunks, begin) => {
    expect(hear(...chunks)).toEqual({
      heard: {
        code: '57P01',
        message: 'terminating connection due to administrator command',
        severity: 'FATAL',
      },
      begin,
    })
  })

  it('goes by the severity in English, where the server speaks another language', () => {
    const german = error('SFATAL: Schluss', 'VFATAL', 'C57P01', 'MSchluss', 'DDetail', 'HHinweis')
    expect(hear(german).heard).toEqual({
      severity: 'FATAL',
      code: '57P01',
      message: 'Schluss',
      detail: 'Detail',
      hint: 'Hinweis',
    })
    expect(hear(error('SPANIC', 'C53200', 'Mout of memory')).heard).toMatchObject({ code: '53200' })
  })

  it.each<[string, Buffer[]]>([
    ['nothing', [Buffer.alloc(0)]],
    ['an answer', [ROW]],
    ['an error that is not fatal', [error('SERROR', 'VERROR', 'C23505', 'Mduplicate')]],
    ['one with something behind it', [Buffer.concat([GOODBYE, READY])]],
    ['half of one', [GOODBYE.subarray(0, -1)]],
    ['one in two pieces', [GOODBYE.subarray(0, 9), GOODBYE.subarray(9)]],
    ['a row that looks like one', [message('D', GOODBYE)]],
    ['a row that looks like one, in two pieces', [message('D', GOODBYE).subarray(0, 5), GOODBYE]],
  ])('hears none in %s', (_label, chunks) => {
    expect(hear(...chunks)).toEqual({ heard: undefined, begin: undefined })
  })

  it('hears the same however the network cuts what comes before', () => {
    const before = Buffer.concat([ROW, READY, ROW])
    fc.assert(
      fc.property(fc.nat(before.length), fc.nat(before.length), (one, other) => {
        const [from, to] = one < other ? [one, other] : [other, one]
        const last = Buffer.concat([before.subarray(to), GOODBYE])
        const { heard, begin } = hear(before.subarray(0, from), before.subarray(from, to), last)
        return heard?.code === '57P01' && begin === before.length - to
      }),
    )
  })

  it('listens to any bytes without failing', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 })), (chunks) => {
        hear(...chunks.map((bytes) => Buffer.from(bytes)))
      }),
    )
  })
})

describe('lastWordsError', () => {
  it('is an error with the fields of the server', () => {
    const made = lastWordsError({ severity: 'FATAL', code: '57P01', message: 'bye', hint: 'later' })
    expect(made).toBeInstanceOf(Error)
    expect(made).toMatchObject({ message: 'bye', code: '57P01', severity: 'FATAL', hint: 'later' })
  })
})
