import * as fc from 'fast-check'
import {
  BackendTracker,
  fatalErrorOf,
  type BackendTrackerOptions,
} from '../../../core/connection/backend-tracker.js'
import {
  GREETING,
  READY,
  cString,
  errorResponse,
  message,
  textRow,
} from '../support/backend-messages.js'

const FATAL = errorResponse('57P01', 'terminating connection due to administrator command')
const ROW = textRow('x')
const QUERY = message('Q', cString('select'))
const FAILED = Buffer.concat([error('SERROR', 'VERROR', 'C23505', 'Mduplicate'), READY])
const READY_FAILED = message('Z', 'E')
const IN_TRANSACTION = message('Z', 'T')
const NOTHING = Buffer.alloc(0)

function error(...fields: string[]): Buffer {
  return message('E', ...fields.map(cString), Buffer.from([0]))
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

/** A tracker of a logged-in connection, after these requests. */
function tracker(
  options: Partial<BackendTrackerOptions> = {},
  requests: readonly Buffer[] = [QUERY],
): BackendTracker {
  const tracked = new BackendTracker({
    hidesFatalError: false,
    bootstrapQuery: undefined,
    ...options,
  })
  tracked.received(GREETING)
  for (const request of requests) tracked.sent(request)
  return tracked
}

/** The bytes that the driver receives of a stream, and the final state. */
function outcome(
  tracked: BackendTracker,
  chunks: readonly Buffer[],
): { forDriver: string; violation: string | undefined; fatal: string | undefined } {
  const forDriver = Buffer.concat(chunks.map((chunk) => tracked.received(chunk)))
  return {
    forDriver: forDriver.toString('latin1'),
    violation: tracked.violation?.message,
    fatal: tracked.fatalError?.code,
  }
}

/** All ways to split bytes in two, and one chunk per byte. */
function cuts(bytes: Buffer): Buffer[][] {
  const inTwo = Array.from(bytes, (_, index) => [bytes.subarray(0, index), bytes.subarray(index)])
  return [...inTwo, Array.from(bytes, (byte) => Buffer.from([byte]))]
}

/** One of each message, with the request that it may follow. */
const SOUND: Readonly<Record<string, readonly [request: Buffer, reply: Buffer]>> = {
  RowDescription: [QUERY, ROW.subarray(0, ROW.indexOf('D', 20))],
  ParameterDescription: [message('D', 'S\0'), message('t', int16(2), 25, 23)],
  DataRow: [QUERY, message('D', int16(3), 2, 'ab', -1, 0)],
  CommandComplete: [QUERY, message('C', cString('SELECT 1'))],
  EmptyQueryResponse: [QUERY, message('I')],
  PortalSuspended: [message('E', cString(''), 10), message('s')],
  NoData: [message('D', 'S\0'), message('n')],
  ParseComplete: [message('P', '\0\0', int16(0)), message('1')],
  BindComplete: [message('B', '\0\0', int16(0), int16(0), int16(0)), message('2')],
  CloseComplete: [message('C', 'S\0'), message('3')],
  CopyInResponse: [QUERY, message('G', '\0', int16(2), int16(0), int16(0))],
  CopyOutResponse: [QUERY, message('H', '\0', int16(1), int16(0))],
  CopyBothResponse: [QUERY, message('W', '\0', int16(0))],
  FunctionCallResponse: [message('F', 1), message('V', 3, 'abc')],
  ErrorResponse: [QUERY, FAILED.subarray(0, -READY.length)],
  NoticeResponse: [QUERY, message('N', cString('SNOTICE'), Buffer.from([0]))],
  NotificationResponse: [QUERY, message('A', 1, cString('channel'), cString('payload'))],
  ParameterStatus: [QUERY, message('S', cString('TimeZone'), cString('UTC'))],
  ReadyForQuery: [QUERY, READY],
}

describe('a tracker of server messages', () => {
  it.each(Object.entries(SOUND))(
    'forwards a %s unchanged, however it is split',
    (_name, [request, reply]) => {
      for (const chunks of cuts(reply)) {
        expect(outcome(tracker({}, [request]), chunks)).toEqual({
          forDriver: reply.toString('latin1'),
          violation: undefined,
          fatal: undefined,
        })
      }
    },
  )

  it('forwards nothing of a message that must be complete before it is', () => {
    const tracked = tracker()
    const notice = SOUND['NoticeResponse']![1]
    expect(tracked.received(Buffer.concat([ROW, notice.subarray(0, -1)]))).toEqual(ROW)
    expect(tracked.received(notice.subarray(-1))).toEqual(notice)
  })

  it('forwards a row in chunks, without buffering it', () => {
    const tracked = tracker()
    const row = message('D', int16(1), 1_000, Buffer.alloc(1_000))
    expect(tracked.received(row.subarray(0, 100))).toEqual(row.subarray(0, 100))
    expect(tracked.received(row.subarray(100))).toEqual(row.subarray(100))
  })

  it('forwards COPY data of any content, in either direction', () => {
    const data = message('d', Buffer.from([1, 2, 3]))
    const copy = Buffer.concat([SOUND['CopyOutResponse']![1], data, message('c'), ROW])
    for (const chunks of cuts(copy))
      expect(outcome(tracker(), chunks).forDriver).toBe(copy.toString('latin1'))
  })

  /** A message with one invalid field. */
  const BROKEN: readonly [string, Buffer, Buffer][] = [
    ['an ErrorResponse of no bytes', QUERY, message('E')],
    ['an ErrorResponse without its end', QUERY, message('E', 'SERROR\0')],
    ['an ErrorResponse with bytes after its end', QUERY, message('E', 'SERROR\0\0x')],
    ['a NoticeResponse whose last field has no end', QUERY, message('N', 'SNOTICE')],
    ['a ParameterStatus without a value', QUERY, message('S', 'TimeZone\0')],
    ['a ParameterStatus of three strings', QUERY, message('S', 'a\0b\0c\0')],
    ['a NotificationResponse without a payload', QUERY, message('A', 1, 'channel\0')],
    ['a ReadyForQuery with an unknown status', QUERY, message('Z', 'X')],
    ['a ReadyForQuery of two bytes', QUERY, message('Z', 'II')],
    ['a RowDescription that is cut short', QUERY, message('T', int16(1), 'a\0', 1, int16(1))],
    ['a RowDescription whose name has no end', QUERY, message('T', int16(1), 'abcdef')],
    ['a RowDescription of fewer columns than it has', QUERY, message('T', int16(0), 'a\0')],
    ['a RowDescription of -1 columns', QUERY, message('T', int16(-1))],
    ['a CommandComplete without its end', QUERY, message('C', 'SELECT 1')],
    ['a CommandComplete of two strings', QUERY, message('C', 'SELECT 1\0x\0')],
    ['a ParameterDescription that is cut short', message('D', 'S\0'), message('t', int16(2), 1)],
    ['a CopyOutResponse of an unknown format', QUERY, message('H', Buffer.from([9]), int16(0))],
    ['a CopyInResponse that is cut short', QUERY, message('G', '\0', int16(4), int16(0))],
    ['a FunctionCallResponse that is cut short', message('F', 1), message('V', 9, 'abc')],
    ['an EmptyQueryResponse with a body', QUERY, message('I', 'x')],
    ['a NoData with a body', message('D', 'S\0'), message('n', 'x')],
    ['a DataRow without a count', QUERY, message('D')],
    ['a DataRow of -1 columns', QUERY, message('D', int16(-1))],
    ['a DataRow of more columns than it has', QUERY, message('D', int16(3), 1, 'a')],
    ['a DataRow of fewer columns than it has', QUERY, message('D', int16(1), 1, 'a', 1, 'b')],
    ['a DataRow whose value is cut short', QUERY, message('D', int16(1), 100, 'a')],
    ['a DataRow with a length of -2', QUERY, message('D', int16(1), -2)],
    ['a message of length 3', QUERY, Buffer.from([0x43, 0, 0, 0, 3])],
    ['a message of a negative length', QUERY, Buffer.from([0x44, 0xff, 0xff, 0xff, 0xff])],
    ['a row of two gigabytes', QUERY, Buffer.from([0x44, 0x7f, 0xff, 0xff, 0xff])],
    ['a notice of more than 1 MiB', QUERY, Buffer.from([0x4e, 0, 0x10, 0, 1])],
    ['a message of an unknown type', QUERY, message('y')],
  ]

  it.each(BROKEN)(
    'forwards nothing of %s, nor anything after it, however it is split',
    (_name, request, broken) => {
      const before = SOUND['NoticeResponse']![1]
      for (const chunks of cuts(Buffer.concat([before, broken, READY]))) {
        const tracked = tracker({}, [request])
        const { forDriver, violation } = outcome(tracked, chunks)
        expect(violation).toMatch(/^the server sent a.* violates the PostgreSQL protocol$/)
        expect(tracked.violation).toMatchObject({ code: 'ERR_PROTOCOL', retryable: false })
        const rest = forDriver.slice(before.length)
        expect(forDriver.startsWith(before.toString('latin1'))).toBe(true)
        // The start of a row may have been forwarded, but never the whole row.
        expect(broken.subarray(0, -1).toString('latin1').startsWith(rest)).toBe(true)
        if (!'Dd'.includes(String.fromCharCode(broken[0]!))) expect(rest).toBe('')
      }
    },
  )

  it.each(Object.keys(SOUND).filter((name) => !/^(Notice|Notif|ParameterS)/.test(name)))(
    'does not forward an unrequested %s',
    (name) => {
      const { forDriver, violation } = outcome(tracker({}, []), [SOUND[name]![1]])
      expect(forDriver).toBe('')
      expect(violation).toContain('out of sequence')
    },
  )

  it.each([
    ['AuthenticationOk', message('R', 0)],
    ['a request for a password', message('R', 3)],
    ['a BackendKeyData', message('K', 1, 2)],
    ['a NegotiateProtocolVersion', message('v', 0x0003_0000, 0)],
    ['a PortalSuspended for a query without a row limit', message('s')],
    ['CopyData without a COPY', message('d', 'x')],
    ['a CopyDone without a COPY', message('c')],
    ['a FunctionCallResponse for a query', message('V', -1)],
  ])('does not forward %s to a driver that has sent a query', (_name, reply) => {
    const requests = [QUERY, message('E', cString(''), 0)]
    expect(outcome(tracker({}, requests), [reply]).violation).toContain('out of sequence')
  })

  it('forwards one ReadyForQuery for each Query and Sync, and no more', () => {
    const requests = [QUERY, message('P', '\0\0', int16(0)), message('S'), QUERY]
    const tracked = tracker({}, requests)
    expect(outcome(tracked, [READY, READY, READY]).violation).toBeUndefined()
    expect(tracked.received(READY)).toEqual(NOTHING)
    expect(tracked.violation?.message).toContain('"Z" out of sequence')
  })

  it('expects the replies to pipelined requests', () => {
    const described = [message('P', '\0\0', int16(0)), message('D', 'S\0'), message('H')]
    const tracked = tracker({}, [QUERY, ...described])
    const replies = Buffer.concat([ROW, message('1'), message('n')])
    expect(outcome(tracked, [replies])).toMatchObject({ violation: undefined })
  })

  it('identifies requests by their headers, however the driver splits them', () => {
    const requests = Buffer.concat([message('P', '\0\0', int16(0)), message('Q', 'Sx\0')])
    for (const chunks of cuts(requests)) {
      const tracked = tracker({}, chunks)
      expect(outcome(tracked, [message('1'), READY]).violation).toBeUndefined()
      tracked.received(READY)
      expect(tracked.violation).toBeDefined()
    }
  })

  it('forwards any reply once the driver violates the protocol', () => {
    expect(outcome(tracker({}, [Buffer.from('\0\0\0\0\0\0')]), [ROW]).violation).toBeUndefined()
  })

  it('never throws, and forwards the same bytes however the stream is split', () => {
    const bytes = fc.oneof(
      fc.constantFrom(...Object.values(SOUND).map(([, reply]) => reply), FATAL),
      fc.uint8Array({ maxLength: 30 }).map((any) => Buffer.from(any)),
      fc
        .tuple(
          fc.constantFrom(...'RKSvENAZTtDCIsn123GHWdcV'.split('')),
          fc.uint8Array({ maxLength: 30 }),
        )
        .map(([type, body]) => message(type, Buffer.from(body))),
    )
    fc.assert(
      fc.property(
        fc.array(bytes, { maxLength: 8 }),
        fc.array(fc.nat(300), { maxLength: 8 }),
        fc.boolean(),
        (parts, places, hidesFatalError) => {
          const whole = Buffer.concat(parts)
          const at = [0, ...places.map((place) => place % (whole.length + 1)), whole.length]
          const ends = at.toSorted((one, other) => one - other)
          const chunks = ends.slice(1).map((end, index) => whole.subarray(ends[index], end))
          const requests = Object.values(SOUND).map(([request]) => request)
          const cut = outcome(tracker({ hidesFatalError }, requests), chunks)
          const uncut = outcome(tracker({ hidesFatalError }, requests), [whole])
          expect({ ...cut, forDriver: '' }).toEqual({ ...uncut, forDriver: '' })
          // A malformed row is forwarded up to its invalid part.
          if (uncut.violation === undefined) expect(cut.forDriver).toBe(uncut.forDriver)
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('a tracker of a login', () => {
  it.each([
    ['a row', ROW],
    ['a notification', SOUND['NotificationResponse']![1]],
    ['a ParseComplete', message('1')],
  ])('does not forward %s before the login is complete', (_name, bytes) => {
    const tracked = new BackendTracker({ hidesFatalError: false, bootstrapQuery: undefined })
    expect(outcome(tracked, [message('R', 0), bytes]).violation).toContain('out of sequence')
  })
})

describe('a FATAL error that ends the session', () => {
  it('is forwarded as the last message, and reported, however it is split', () => {
    for (const chunks of cuts(Buffer.concat([ROW, FATAL]))) {
      expect(outcome(tracker(), [...chunks, READY])).toEqual({
        forDriver: Buffer.concat([ROW, FATAL]).toString('latin1'),
        violation: undefined,
        fatal: '57P01',
      })
    }
  })

  it('is not forwarded to a driver with hidesFatalError, however it is split', () => {
    for (const chunks of cuts(Buffer.concat([ROW, FATAL]))) {
      expect(outcome(tracker({ hidesFatalError: true }), chunks)).toEqual({
        forDriver: ROW.toString('latin1'),
        violation: undefined,
        fatal: '57P01',
      })
    }
  })

  it('is accepted at any time, even without a request', () => {
    expect(outcome(tracker({}, []), [FATAL])).toMatchObject({
      fatal: '57P01',
      violation: undefined,
    })
  })

  it('is recognised by its non-localized severity', () => {
    const german = error('SFATAL: Schluss', 'VFATAL', 'C57P01', 'MSchluss', 'DDetail', 'HHinweis')
    const tracked = tracker()
    tracked.received(german)
    expect(tracked.fatalError).toEqual({
      severity: 'FATAL',
      code: '57P01',
      message: 'Schluss',
      detail: 'Detail',
      hint: 'Hinweis',
    })
    const panic = tracker()
    panic.received(error('SPANIC', 'C53200', 'Mout of memory'))
    expect(panic.fatalError).toMatchObject({ code: '53200' })
  })

  it("is converted to an error with the server's fields", () => {
    const made = fatalErrorOf({ severity: 'FATAL', code: '57P01', message: 'bye', hint: 'later' })
    expect(made).toBeInstanceOf(Error)
    expect(made).toMatchObject({ message: 'bye', code: '57P01', severity: 'FATAL', hint: 'later' })
  })

  it('is not found in a row with the same bytes', () => {
    for (const chunks of cuts(message('D', int16(1), FATAL.length, FATAL)))
      expect(outcome(tracker(), chunks)).toMatchObject({ fatal: undefined, violation: undefined })
  })
})

describe('an error whose ReadyForQuery never arrives', () => {
  const ERROR = FAILED.subarray(0, -READY.length)

  it('gets a ReadyForQuery for a driver that would otherwise reject a query of its next connection with it', () => {
    const hiding = tracker({ hidesFatalError: true })
    hiding.received(ERROR)
    expect(hiding.lost()).toEqual(READY_FAILED)
    expect(hiding.lost()).toEqual(NOTHING)
    const ended = tracker({ hidesFatalError: true })
    expect(ended.received(Buffer.concat([ERROR, FATAL]))).toEqual(
      Buffer.concat([ERROR, READY_FAILED]),
    )
  })

  it('is unchanged if its ReadyForQuery has arrived, and for any other driver', () => {
    const hiding = tracker({ hidesFatalError: true })
    hiding.received(FAILED)
    expect(hiding.lost()).toEqual(NOTHING)
    const plain = tracker()
    plain.received(ERROR)
    expect(plain.lost()).toEqual(NOTHING)
  })
})

describe('a driver that does not receive the FATAL error', () => {
  const after = (...chunks: Buffer[]): boolean => {
    const options = { hidesFatalError: true, bootstrapQuery: () => undefined }
    const hiding = tracker(options, [QUERY])
    for (const chunk of chunks) hiding.received(chunk)
    return hiding.hasYetToAct
  }

  it('has pending work after a reply within a transaction, until it sends a request', () => {
    expect(after(IN_TRANSACTION)).toBe(true)
    expect(after(Buffer.concat([IN_TRANSACTION, FATAL]))).toBe(true)
    expect(after(READY)).toBe(false)
    for (const hidesFatalError of [true, false]) {
      const asking = tracker({ hidesFatalError }, [QUERY])
      asking.received(IN_TRANSACTION)
      expect(asking.hasYetToAct).toBe(true)
      asking.sent(QUERY)
      expect(asking.hasYetToAct).toBe(false)
    }
  })

  it('has pending work after the start of a COPY, until its end', () => {
    const begin = SOUND['CopyOutResponse']![1]
    expect(after(begin)).toBe(true)
    expect(after(begin, message('d', 'x'))).toBe(true)
    expect(after(begin, message('c'), message('C', 'COPY 1\0'))).toBe(false)
    expect(after(begin, FAILED)).toBe(false)
  })

  it('has pending work after its login', () => {
    const options = { hidesFatalError: true, bootstrapQuery: () => undefined }
    expect(tracker(options, []).hasYetToAct).toBe(true)
  })
})

describe('a driver that receives the FATAL error', () => {
  it('receives one that arrived with its login after it had the time to send a query', () => {
    const fresh = new BackendTracker({ hidesFatalError: false, bootstrapQuery: undefined })
    expect(fresh.received(Buffer.concat([GREETING, FATAL]))).toEqual(GREETING)
    expect([fresh.hasYetToAct, fresh.fatalError?.code]).toEqual([true, '57P01'])
    expect(fresh.lost()).toEqual(FATAL)
    expect(fresh.lost()).toEqual(NOTHING)
  })

  it('receives one that arrived with a reply, or alone, immediately', () => {
    const used = tracker()
    expect(used.received(Buffer.concat([ROW, FATAL]))).toEqual(Buffer.concat([ROW, FATAL]))
    expect(used.hasYetToAct).toBe(false)
    expect(tracker({}, []).received(FATAL)).toEqual(FATAL)
  })
})

describe('a required bootstrap query', () => {
  const SET = message('Q', cString('SET TIME ZONE'))
  const options: Partial<BackendTrackerOptions> = { bootstrapQuery: () => 'required' }

  it('ends the connection if it fails, after its reply', () => {
    const failing = tracker(options)
    expect(failing.received(FAILED)).toEqual(FAILED)
    expect([failing.hasFailedBootstrap, failing.isReady]).toEqual([true, true])
  })

  it('does not end the connection if it succeeds, or if a later query fails', () => {
    const third = {
      bootstrapQuery: (request: Buffer) => (request === SET ? 'required' : undefined),
    } as const
    const [good, later] = [tracker(options), tracker(third, [QUERY, QUERY, SET, QUERY])]
    good.received(ROW)
    later.received(FAILED)
    expect([good.hasFailedBootstrap, later.hasFailedBootstrap]).toEqual([false, false])
  })
})

describe('a tolerated bootstrap query', () => {
  const SET = message('Q', cString('SET TIME ZONE'))
  const TYPES = message('Q', cString('types'))
  const bootstrapQuery = (request: Buffer): 'tolerated' | 'required' =>
    request === SET ? 'tolerated' : 'required'

  it('has an empty result if the server returns an error, and is followed by others', () => {
    const followed = tracker({ bootstrapQuery }, [SET])
    expect(followed.received(FAILED)).toEqual(READY)
    expect([followed.hasFailedBootstrap, followed.isBootstrapping]).toEqual([false, false])
    followed.sent(TYPES)
    expect(followed.isBootstrapping).toBe(true)
    expect(followed.received(FAILED)).toEqual(FAILED)
    expect([followed.hasFailedBootstrap, followed.isBootstrapping]).toEqual([true, true])
  })
})

describe('the reply to an optional bootstrap query', () => {
  const bootstrapQuery = (request: Buffer): 'optional' | undefined =>
    request.includes('types') ? 'optional' : undefined
  const TYPES = message('Q', cString('types'))

  it('is held until it is complete, and then forwarded with the bytes after it', () => {
    const notice = SOUND['NoticeResponse']![1]
    const held = tracker({ bootstrapQuery }, [TYPES])
    expect(held.received(ROW.subarray(0, 40))).toEqual(NOTHING)
    expect(held.received(Buffer.concat([ROW.subarray(40), notice]))).toEqual(
      Buffer.concat([ROW, notice]),
    )
    held.sent(QUERY)
    expect(held.received(FAILED)).toEqual(FAILED)
  })

  it('is an empty result if the server returns an error', () => {
    const notice = SOUND['NoticeResponse']![1]
    for (const chunks of cuts(FAILED)) {
      const held = tracker({ bootstrapQuery }, [TYPES])
      expect(outcome(held, [...chunks, notice]).forDriver).toBe(
        Buffer.concat([READY, notice]).toString('latin1'),
      )
    }
  })

  it('is an empty result if the connection is lost, for a driver that would crash otherwise', () => {
    const lost = tracker({ bootstrapQuery, hidesFatalError: true }, [TYPES])
    lost.received(ROW.subarray(0, 40))
    expect(lost.lost()).toEqual(READY)
    expect(lost.lost()).toEqual(NOTHING)
    const ended = tracker({ bootstrapQuery, hidesFatalError: true }, [TYPES])
    expect(ended.received(FATAL)).toEqual(READY)
  })

  it('is what has arrived so far if the connection is lost, for any other driver', () => {
    const lost = tracker({ bootstrapQuery }, [TYPES])
    const row = ROW.subarray(0, ROW.indexOf('D', 20) + 12)
    lost.received(row)
    expect(lost.lost()).toEqual(row)
    const ended = tracker({ bootstrapQuery }, [TYPES])
    expect(ended.received(FATAL)).toEqual(FATAL)
  })

  it('is rejected above 16 MiB', () => {
    const held = tracker({ bootstrapQuery }, [TYPES])
    const row = message('D', int16(1), 1 << 20, Buffer.alloc(1 << 20))
    for (let count = 0; count < 16; count++) expect(held.received(row)).toEqual(NOTHING)
    expect(held.violation).toMatchObject({ code: 'ERR_PROTOCOL' })
  })

  it('is expected for the first three requests only', () => {
    const late = tracker({ bootstrapQuery }, [QUERY, QUERY, QUERY, TYPES])
    expect(late.received(FAILED)).toEqual(FAILED)
  })
})
