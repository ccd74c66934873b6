import * as fc from 'fast-check'
import { createWaitingLine } from '../../../core/connection/waiting-line.js'

describe('createWaitingLine', () => {
  it('gives out what has joined, in that order, and then nothing', () => {
    const line = createWaitingLine<string>()
    expect(line.next()).toBeUndefined()
    line.join('a')
    line.join('b')
    expect([line.next(), line.next(), line.next()]).toEqual(['a', 'b', undefined])
    line.join('c')
    expect(line.next()).toBe('c')
  })

  it('is the same as a list, whoever joins, leaves, leaves again, or leaves when it was given out', () => {
    const step = fc.oneof(
      fc.constant('join' as const),
      fc.constant('next' as const),
      fc.record({ leaves: fc.nat(30) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const line = createWaitingLine<number>()
        const leave: (() => void)[] = []
        let list: number[] = []
        for (const one of steps) {
          if (one === 'join') {
            list.push(leave.length)
            leave.push(line.join(leave.length))
          } else if (one === 'next') {
            expect(line.next()).toBe(list.shift())
          } else if (leave.length > 0) {
            const who = one.leaves % leave.length
            leave[who]!()
            list = list.filter((other) => other !== who)
          }
        }
        expect(list.map(() => line.next())).toEqual(list)
        expect(line.next()).toBeUndefined()
      }),
    )
  })
})
