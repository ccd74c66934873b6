import * as fc from 'fast-check'
import { createReplyTracker } from '../../../gateway/wire/reply-tracker.js'
import {
  errorResponse,
  parameterStatus,
  readyForQuery,
} from '../../../gateway/wire/backend-messages.js'
import { ServerError } from '../../../gateway/wire/server-error.js'
import { frontend, inChunks } from './frontend-messages.js'

describe('createReplyTracker', () => {
  it('knows where messages end, whatever the chunks', () => {
    const anyMessage = fc
      .tuple(fc.constantFrom('D', 'T', 'C', 'Z'), fc.uint8Array({ maxLength: 30 }))
      .map(([type, body]) => frontend(type, Buffer.from(body)))
    fc.assert(
      fc.property(
        fc.array(anyMessage, { minLength: 1, maxLength: 15 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        (messages, cuts) => {
          const bytes = Buffer.concat(messages)
          const ends = new Set([0])
          messages.reduce((end, message) => {
            ends.add(end + message.length)
            return end + message.length
          }, 0)
          const tracker = createReplyTracker()
          let seen = 0
          for (const chunk of inChunks(bytes, cuts)) {
            tracker.push(chunk)
            seen += chunk.length
            expect(tracker.atBoundary).toBe(ends.has(seen))
          }
          expect(tracker.lastType).toBe(messages.at(-1)![0])
          expect(tracker.readyCount).toBe(messages.filter(([type]) => type === 0x5a).length)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('names the last message that began', () => {
    const tracker = createReplyTracker()
    tracker.push(Buffer.concat([parameterStatus('a', 'b'), readyForQuery('I')]))
    expect(tracker).toMatchObject({ lastType: 0x5a, readyCount: 1, atBoundary: true })
    const error = errorResponse(new ServerError('57P01', 'bye', { severity: 'FATAL' }))
    tracker.push(error.subarray(0, 8))
    expect(tracker).toMatchObject({ lastType: 0x45, atBoundary: false })
    tracker.push(error.subarray(8))
    expect(tracker).toMatchObject({ lastType: 0x45, atBoundary: true })
  })
})
