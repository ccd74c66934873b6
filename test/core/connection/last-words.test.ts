import * as fc from 'fast-check'
import { lastWordsIn } from '../../../core/connection/last-words.js'
import { READY, cString, errorResponse, message, textRow } from '../support/backend-messages.js'

const GOODBYE = errorResponse('57P01', 'terminating connection due to administrator command')

describe('lastWordsIn', () => {
  it('finds the fatal error that a chunk ends with, wherever the chunk began', () => {
    for (const before of [
      Buffer.alloc(0),
      READY,
      textRow('x'),
      textRow('x').subarray(7),
      Buffer.from('EEEE'),
    ]) {
      expect(lastWordsIn(Buffer.concat([before, GOODBYE]))).toMatchObject({
        code: '57P01',
        message: 'terminating connection due to administrator command',
        severity: 'FATAL',
      })
    }
  })

  it('goes by the severity in English, where the server speaks another language', () => {
    const german = message(
      'E',
      ...['SFATAL: Schluss', 'VFATAL', 'C57P01', 'MSchluss'].map(cString),
      Buffer.from([0]),
    )
    expect(lastWordsIn(german)).toMatchObject({ code: '57P01', message: 'Schluss' })
    const old = message(
      'E',
      ...['SPANIC', 'C53200', 'Mout of memory'].map(cString),
      Buffer.from([0]),
    )
    expect(lastWordsIn(old)).toMatchObject({ code: '53200' })
  })

  it.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['an answer', textRow('x')],
    [
      'an error that is not fatal',
      message('E', cString('SERROR'), cString('VERROR'), cString('C23505'), Buffer.from([0])),
    ],
    ['a fatal error with something behind it', Buffer.concat([GOODBYE, READY])],
    ['half of it', GOODBYE.subarray(0, -1)],
    ['its end alone', GOODBYE.subarray(9)],
    ['a row whose text looks like one', Buffer.concat([textRow(GOODBYE.toString('latin1'))])],
  ])('finds none in %s', (_label, chunk) => {
    expect(lastWordsIn(chunk)).toBeUndefined()
  })

  it('looks at any bytes without failing', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const found = lastWordsIn(Buffer.from(bytes))
        return found === undefined || found instanceof Error
      }),
    )
  })
})
