import { createTurns } from '../../../core/connection/turns.js'

const never = new AbortController().signal

describe('createTurns', () => {
  it('gives the next caller a turn when the one before has ended it, in the order in which they came', async () => {
    const turns = createTurns()
    const seen: string[] = []
    const take = async (name: string): Promise<() => void> => {
      const end = await turns.take(never)
      seen.push(name)
      return end
    }
    const first = await take('first')
    const second = take('second')
    const third = take('third')
    await Promise.resolve()
    expect(seen).toEqual(['first'])
    first()
    ;(await second)()
    await third
    expect(seen).toEqual(['first', 'second', 'third'])
  })

  it('takes a turn that is ended twice as ended once', async () => {
    const turns = createTurns()
    const first = await turns.take(never)
    const second = turns.take(never)
    const third = jest.fn()
    const waiting = turns.take(never).then(third)
    first()
    first()
    const end = await second
    expect(third).not.toHaveBeenCalled()
    end()
    await waiting
    expect(third).toHaveBeenCalledTimes(1)
  })

  it('passes over who has given up, who is told at once', async () => {
    const turns = createTurns()
    const end = await turns.take(never)
    const controller = new AbortController()
    const impatient = turns.take(controller.signal)
    const patient = turns.take(never)
    controller.abort()
    await expect(impatient).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    end()
    await expect(patient).resolves.toEqual(expect.any(Function))
  })

  it('gives no turn to a signal that has fired already', async () => {
    const turns = createTurns()
    await expect(turns.take(AbortSignal.abort())).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    await expect(turns.take(never)).resolves.toEqual(expect.any(Function))
  })
})
