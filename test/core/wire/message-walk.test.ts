import * as fc from 'fast-check'
import { MessageWalk } from '../../../core/wire/message-walk.js'
import { READY, message, textRow } from '../support/backend-messages.js'

const ROW = textRow('x')

describe('MessageWalk', () => {
  it('tells where the last message of a chunk begins, where the chunk ends with it', () => {
    const walk = new MessageWalk()
    expect(walk.push(READY)).toBe(0)
    expect(walk.push(Buffer.concat([READY, READY]))).toBe(READY.length)
    expect(walk.push(Buffer.alloc(0))).toBeUndefined()
    expect(walk.push(READY.subarray(0, 5))).toBeUndefined()
    // The rest of a message that began before.
    expect(walk.push(READY.subarray(5))).toBeUndefined()
    expect(walk.push(Buffer.concat([READY, READY.subarray(0, 2)]))).toBeUndefined()
    expect(walk.push(Buffer.concat([READY.subarray(2), READY]))).toBe(READY.length - 2)
    expect(walk.push(message('N'))).toBe(0)
  })

  it('tells where the message before the last one begins, where the chunk has that, too', () => {
    const walk = new MessageWalk()
    const notice = message('N', 'notice')
    walk.push(Buffer.concat([READY, notice, READY]))
    expect(walk.previous).toBe(READY.length)
    walk.push(READY)
    expect(walk.previous).toBeUndefined()
    walk.push(notice.subarray(0, 3))
    walk.push(Buffer.concat([notice.subarray(3), READY]))
    expect(walk.previous).toBeUndefined()
  })

  it('finds the last message of any stream, however the network cuts it', () => {
    const whole = Buffer.concat([ROW, READY, ROW])
    fc.assert(
      fc.property(fc.array(fc.nat(whole.length), { maxLength: 8 }), (cuts) => {
        const walk = new MessageWalk()
        const at = [0, ...cuts.toSorted((one, other) => one - other), whole.length]
        for (const [index, from] of at.entries()) walk.push(whole.subarray(from, at[index + 1]))
        return walk.push(READY) === 0
      }),
    )
  })

  it('is lost for good behind what cannot be a message', () => {
    const walk = new MessageWalk()
    expect(walk.push(Buffer.from([0x5a, 0, 0, 0, 3]))).toBeUndefined()
    expect(walk.push(READY)).toBeUndefined()
    const other = new MessageWalk()
    expect(other.push(Buffer.from([0x5a, 0xff, 0, 0, 0, 1]))).toBeUndefined()
    expect(other.push(READY)).toBeUndefined()
  })
})
