import { createTurns } from '../../../core/connection/turns.js'
import { rejectionOf } from '../support/caught.js'

const never = new AbortController().signal

describe('createTurns', () => {
  it('lets callers through one at a time, in the order in which they came', async () => {
    const turns = createTurns()
    const order: string[] = []
    const work = async (name: string): Promise<void> => {
      const end = await turns.take(never)
      order.push(`${name} begins`)
      await new Promise((resolve) => setImmediate(resolve))
      order.push(`${name} ends`)
      end()
    }
    await Promise.all(['a', 'b', 'c'].map(work))
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
  })

  it('passes over those who gave up, and tells them so', async () => {
    const turns = createTurns()
    const end = await turns.take(never)
    const controller = new AbortController()
    const impatient = rejectionOf(turns.take(controller.signal))
    const next = turns.take(never)
    controller.abort('why')
    expect(await impatient).toMatchObject({ code: 'ERR_ABORTED', cause: 'why' })
    expect(await rejectionOf(turns.take(AbortSignal.abort()))).toMatchObject({
      code: 'ERR_ABORTED',
    })
    end()
    await expect(next).resolves.toBeInstanceOf(Function)
  })

  it('ends a turn once, however often that is said', async () => {
    const turns = createTurns()
    const end = await turns.take(never)
    const second = turns.take(never)
    const third = turns.take(never)
    end()
    end()
    const endOfSecond = await second
    let isThird = false
    void third.then(() => (isThird = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(isThird).toBe(false)
    endOfSecond()
    await third
  })

  it('is free again after the last turn', async () => {
    const turns = createTurns()
    const end = await turns.take(never)
    end()
    await expect(turns.take(never)).resolves.toBeInstanceOf(Function)
  })
})
