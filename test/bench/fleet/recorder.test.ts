import { curve, figuresOf } from '../../../bench/fleet/figures.js'
import { createRecorder } from '../../../bench/fleet/recorder.js'

describe('createRecorder', () => {
  it('keeps what was open when each second was over, and the fewest within it', () => {
    let now = 0
    const recorder = createRecorder(5, ['one', 'other'], () => now)
    recorder.opened('one')
    recorder.opened('other')
    now = 2_100
    recorder.closed('one')
    now = 2_200
    recorder.opened('other')
    now = 4_999
    const { open, fewestOpen, openTo, counts } = recorder.record
    expect([...open]).toEqual([2, 2, 2, 2, 2])
    expect([...fewestOpen]).toEqual([0, 2, 1, 2, 2])
    expect([...(openTo.get('one') ?? [])]).toEqual([1, 1, 0, 0, 0])
    expect([...(openTo.get('other') ?? [])]).toEqual([1, 1, 2, 2, 2])
    expect([...counts.opened]).toEqual([2, 0, 1, 0, 0])
  })

  it('tells when a number of connections was open for the first time since it was asked', () => {
    let now = 0
    const recorder = createRecorder(10, ['one', 'other'], () => now)
    recorder.opened('one')
    now = 1_000
    recorder.lookOutFor('two', 2)
    recorder.lookOutFor('one of the other', 1, 'other')
    recorder.lookOutFor('five', 5)
    now = 1_500
    recorder.opened('one')
    now = 3_000
    recorder.closed('one')
    recorder.opened('other')
    expect([...recorder.record.reachedAfterSecs]).toEqual([
      ['two', 0.5],
      ['one of the other', 2],
    ])
  })
})

describe('figuresOf', () => {
  it('counts within the period only', () => {
    let now = 0
    const recorder = createRecorder(4, ['one'], () => now)
    for (now = 0; now < 4_000; now += 500) {
      recorder.count('attempts')
      recorder.count('53400')
    }
    now = 2_000
    recorder.count('attempts')
    recorder.opened('one')
    now = 3_999
    const figures = figuresOf(recorder.record, { from: 1, to: 3 })
    expect(figures).toMatchObject({ peakAttempts: 3, refusedForRate: 4, refusedForCount: 0 })
    expect(figures).toMatchObject({ peakOpened: 1, meanOpened: 0.5, fewestOpen: 0 })
  })
})

describe('curve', () => {
  const list = Float64Array.from([5, 1, 2, 9, 4])
  it.each([
    ['largest', [9, 4]],
    ['smallest', [1, 4]],
  ] as const)('has the %s value of each bin', (which, values) => {
    expect(curve(list, { from: 1, to: 5 }, 3, which)).toEqual([
      [1, values[0]],
      [4, values[1]],
    ])
  })
})
