import { errorResponse, parseErrorResponse, ServerError } from '../../wire/error-response.js'
import * as backend from '../../wire/messages.js'

const ERROR = new ServerError('55P03', 'it is somebody else’s turn', {
  detail: 'waited 10 s',
  hint: 'end the transaction',
})

describe('backend messages', () => {
  // The layouts of https://www.postgresql.org/docs/current/protocol-message-formats.html
  const cases: [name: string, message: Buffer, bytes: string][] = [
    [
      'AuthenticationCleartextPassword',
      backend.authenticationCleartextPassword(),
      'R\0\0\0\x08\0\0\0\x03',
    ],
    ['AuthenticationOk', backend.authenticationOk(), 'R\0\0\0\x08\0\0\0\0'],
    ['BackendKeyData', backend.backendKeyData(7, -2), 'K\0\0\0\x0c\0\0\0\x07\xff\xff\xff\xfe'],
    ['ParameterStatus', backend.parameterStatus('a', 'bc'), 'S\0\0\0\x09a\0bc\0'],
    ['ReadyForQuery', backend.readyForQuery('T'), 'Z\0\0\0\x05T'],
    [
      'NegotiateProtocolVersion',
      backend.negotiateProtocolVersion(0x30000, ['_pq_.x']),
      'v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0',
    ],
    [
      'ErrorResponse',
      errorResponse(new ServerError('0A000', 'm', { severity: 'FATAL', hint: 'h' })),
      'E\0\0\0\x20SFATAL\0VFATAL\0C0A000\0Mm\0Hh\0\0',
    ],
  ]
  it.each(cases)('have the documented layout: %s', (_name, message, bytes) => {
    expect(message.toString('latin1')).toBe(bytes)
  })

  it('replace a NUL in a text, which would end it early', () => {
    const message = errorResponse(new ServerError('XX000', 'a\0C00000\0b'))
    expect(parseErrorResponse(message)).toMatchObject({ sqlState: 'XX000', message: 'a C00000 b' })
  })
})

describe('parseErrorResponse', () => {
  it('parses the messages that errorResponse writes', () => {
    const { sqlState, severity, message, detail, hint } = parseErrorResponse(errorResponse(ERROR))
    expect({ sqlState, severity, message, detail, hint }).toEqual({
      sqlState: ERROR.sqlState,
      severity: ERROR.severity,
      message: ERROR.message,
      detail: ERROR.detail,
      hint: ERROR.hint,
    })
  })

  it('uses defaults for a message without fields, or a truncated one', () => {
    const empty = parseErrorResponse(backend.encodeMessage(0x45, Buffer.alloc(1)))
    expect(empty).toMatchObject({ sqlState: 'XX000', severity: 'ERROR' })
    expect(parseErrorResponse(backend.encodeMessage(0x45, Buffer.from('Mcut')))).toMatchObject({
      sqlState: 'XX000',
    })
  })
})
