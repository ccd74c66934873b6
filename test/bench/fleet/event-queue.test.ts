import { createEventQueue, type Event } from '../../../bench/fleet/event-queue.js'
import { createSeededRandom } from '../../support/seeded-random.js'

const plain = (): void => undefined

describe('createEventQueue', () => {
  it('gives the earliest first, and those of one millisecond in the order in which they were added', () => {
    const queue = createEventQueue()
    const random = createSeededRandom(1)
    const added = Array.from({ length: 2_000 }, (_, order) => {
      const event = { act: plain, isCancelled: false, at: Math.floor(random() * 300), order }
      queue.add(event.at, event)
      return event
    })
    const taken = []
    for (let event; (event = queue.take(1_000)) !== undefined;) taken.push(event)
    expect(taken).toEqual(
      added.toSorted((one, other) => one.at - other.at || one.order - other.order),
    )
  })

  it('rounds times up to whole milliseconds', () => {
    const queue = createEventQueue()
    queue.add(1.2, plain)
    expect(queue.take(1)).toBeUndefined()
    expect(queue.take(2)).toBe(plain)
    expect(queue.takenAt).toBe(2)
  })

  it('keeps what comes after the time that is asked for', () => {
    const queue = createEventQueue()
    queue.add(10, plain)
    expect(queue.take(9)).toBeUndefined()
    expect(queue.take(10)).toBe(plain)
    expect(queue.take(Infinity)).toBeUndefined()
  })

  it('leaves out what was cancelled', () => {
    const queue = createEventQueue()
    const cancelled: Event = { act: plain, isCancelled: false }
    queue.add(1, cancelled)
    queue.add(1, plain)
    cancelled.isCancelled = true
    expect(queue.take(1)).toBe(plain)
  })

  it('takes what is added for the millisecond under way in the same one', () => {
    const queue = createEventQueue()
    const second = (): void => undefined
    queue.add(5, plain)
    expect(queue.take(5)).toBe(plain)
    queue.add(5, second)
    expect(queue.take(5)).toBe(second)
    expect(queue.takenAt).toBe(5)
  })

  it('never gives what is to happen at no time', () => {
    const queue = createEventQueue()
    queue.add(Infinity, plain)
    expect(queue.take(Infinity)).toBeUndefined()
  })
})
