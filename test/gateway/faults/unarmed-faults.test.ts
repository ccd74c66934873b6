import { createSessionFaults } from '../../../gateway/faults/session-faults.js'
import { readyForQuery } from '../../../gateway/wire/backend-messages.js'
import { createReplyTracker } from '../../../gateway/wire/reply-tracker.js'
import { frontend, int16, int32, text } from '../wire/frontend-messages.js'

const bind = (statement: string): Buffer =>
  frontend('B', text(''), text(statement), int16(0), int16(0), int16(0))
const execute = frontend('E', text(''), int32(0))
const sync = frontend('S')

function setting(): {
  faults: ReturnType<typeof createSessionFaults>
  reply: (chunk: Buffer) => { bytes: Buffer; isCut: boolean }
  arm: () => void
} {
  let isArmed = false
  const tracker = createReplyTracker()
  const decisions = {
    get isArmed() {
      return isArmed
    },
    cut: () => false,
    conflict: (at: string) => (isArmed && at === 'commit' ? ('OC000' as const) : undefined),
  }
  const faults = createSessionFaults(decisions, tracker)
  const reply = (chunk: Buffer): { bytes: Buffer; isCut: boolean } => {
    tracker.push(chunk)
    return faults.fromEngine(chunk)
  }
  reply(readyForQuery('I'))
  return { faults, reply, arm: () => (isArmed = true) }
}

describe('a session for which no fault is armed', () => {
  it('passes messages and replies on as they came, and reads no SQL of a query', () => {
    const { faults, reply } = setting()
    const messages = Buffer.concat([frontend('Q', text('COMMIT')), frontend('Q', text('SELECT 1'))])
    const answer = readyForQuery('I')
    const decoded = jest.spyOn(Buffer.prototype, 'toString')
    expect(faults.fromClient(messages)).toBe(messages)
    expect(reply(answer).bytes).toBe(answer)
    expect(decoded).not.toHaveBeenCalled()
  })

  it('knows how many requests are not answered', () => {
    const { faults, reply } = setting()
    expect(faults.isAsked).toBe(false)
    faults.fromClient(Buffer.concat([frontend('Q', text('SELECT 1')), bind(''), execute, sync]))
    reply(readyForQuery('I'))
    expect(faults.isAsked).toBe(true)
    reply(readyForQuery('I'))
    expect(faults.isAsked).toBe(false)
  })

  it('remembers what was prepared, for a fault that is armed later', () => {
    const { faults, reply, arm } = setting()
    const parse = frontend('P', text('c'), text('/* of a pool */ COMMIT'), int16(0))
    faults.fromClient(Buffer.concat([parse, bind('c'), sync]))
    reply(readyForQuery('T'))
    arm()
    const messages = Buffer.concat([bind('c'), execute, sync])
    expect(faults.fromClient(messages)?.toString('latin1')).toMatch(/ROLLBACK/)
  })
})
