import { createRecorder, type Recorder } from '../../../bench/fleet/recorder.js'
import { createRegion, type Region, type Session } from '../../../bench/fleet/region.js'
import { createVirtualTime, type VirtualTime } from '../../../bench/fleet/virtual-time.js'

const LIMITS = { ratePerSec: 100, burst: 10, maxOpen: 100, maxSessionMs: 60_000 }

let time: VirtualTime
let recorder: Recorder
let region: Region
beforeEach(() => {
  time = createVirtualTime()
  recorder = createRecorder(100, ['here'], time.now)
  region = createRegion('here', LIMITS, time, recorder)
})

describe('createRegion', () => {
  it('ends a session at its age, and gives its place back', async () => {
    const endings: number[] = []
    expect(region.logIn(() => endings.push(time.now()))).toMatchObject({
      destroy: expect.anything(),
    })
    await time.run(99_000)
    expect(endings).toEqual([60_000])
    const { open, counts } = recorder.record
    expect([open[59], open[60]]).toEqual([1, 0])
    expect(counts.endedByService[60]).toBe(1)
  })

  it('does not end a session that was closed', async () => {
    const ended = jest.fn()
    const session = region.logIn(ended) as Session
    time.after(1_000, () => session.destroy())
    await time.run(99_000)
    session.destroy()
    expect(ended).not.toHaveBeenCalled()
    expect(Array.from(recorder.record.open.subarray(0, 3))).toEqual([1, 0, 0])
  })

  it('ends all sessions when it fails, and answers again when it is back', () => {
    const ended = jest.fn()
    region.logIn(ended)
    region.logIn(ended)
    region.fail()
    expect(ended).toHaveBeenCalledTimes(2)
    expect(region.logIn(ended)).toBeUndefined()
    region.recover()
    expect(region.logIn(ended)).toBeDefined()
    expect(recorder.record.counts).toMatchObject({ unanswered: expect.anything() })
    expect(recorder.record.counts.unanswered[0]).toBe(1)
    expect(recorder.record.open[0]).toBe(1)
  })

  it('refuses by its limits', () => {
    for (let one = 0; one < 10; one++) region.logIn(() => undefined)
    expect(region.logIn(() => undefined)).toBe('53400')
    expect(recorder.record.counts['53400'][0]).toBe(1)
  })
})
