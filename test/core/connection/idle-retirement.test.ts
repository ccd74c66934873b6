import { retireWhenIdle } from '../../../core/connection/idle-retirement.js'

describe('retireWhenIdle, cancelled', () => {
  it('makes its timer one whose list Node drops with it', () => {
    const clear = jest.spyOn(globalThis, 'clearTimeout')
    retireWhenIdle(3_600_000, { isIdle: true, traffic: 0 }, () => {}).cancel()
    const [timer] = clear.mock.lastCall as unknown as [NodeJS.Timeout]
    expect(timer.hasRef()).toBe(true)
  })
})
