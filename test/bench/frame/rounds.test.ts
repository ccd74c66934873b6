import { createSeededRandom } from '../../../bench/common/seeded-random.js'
import { measureInterleaved, type Competitor } from '../../../bench/frame/rounds.js'
import { shuffled } from '../../../bench/frame/shuffled.js'

const NAMES = ['a', 'b', 'c', 'd']

/** Competitors whose figure is how many turns there were before, and the order of the turns. */
function contest(): { competitors: Competitor[]; turns: string[] } {
  const turns: string[] = []
  const competitors = NAMES.map((name) => ({
    name,
    sample: async () => turns.push(name) - 1,
  }))
  return { competitors, turns }
}

async function orderOf(seed: number): Promise<string[]> {
  const { competitors, turns } = contest()
  const random = createSeededRandom(seed)
  await measureInterleaved(competitors, { rounds: 20, warmUpRounds: 5, random })
  return turns
}

describe('measureInterleaved', () => {
  it('gives every competitor one turn in each round, the warm-up included', async () => {
    const turns = await orderOf(1)
    expect(turns).toHaveLength(25 * NAMES.length)
    for (let round = 0; round < 25; round++) {
      const inRound = turns.slice(round * NAMES.length, (round + 1) * NAMES.length)
      expect(inRound.toSorted()).toEqual(NAMES)
    }
  })

  it('keeps the figures of the rounds after the warm-up, under the right names', async () => {
    const { competitors, turns } = contest()
    const random = createSeededRandom(1)
    const measured = await measureInterleaved(competitors, { rounds: 3, warmUpRounds: 2, random })
    expect([...measured.keys()]).toEqual(NAMES)
    for (const [name, figures] of measured) {
      const itsTurns = turns.flatMap((one, index) => (one === name ? [index] : []))
      expect(figures).toEqual(itsTurns.slice(2))
    }
  })

  it('waits for one competitor before the next begins', async () => {
    let working = 0
    const competitors = NAMES.map((name) => ({
      name,
      sample: async () => {
        expect(++working).toBe(1)
        await new Promise(setImmediate)
        working--
        return 0
      },
    }))
    await measureInterleaved(competitors, { rounds: 2, warmUpRounds: 0, random: Math.random })
    expect.assertions(2 * NAMES.length)
  })

  it('changes the order from round to round, as the seed has it', async () => {
    const turns = await orderOf(1)
    const rounds = Array.from({ length: 25 }, (_, round) => turns.slice(round * 4, round * 4 + 4))
    expect(new Set(rounds.map((round) => round.join(''))).size).toBeGreaterThan(10)
    expect(await orderOf(1)).toEqual(turns)
    expect(await orderOf(2)).not.toEqual(turns)
  })

  it('has everybody open before the first turn of a round, and closed after the last', async () => {
    const events: string[] = []
    const competitors = ['a', 'b'].map((name) => ({
      name,
      open: async () => void events.push('open'),
      sample: async () => events.push(name),
      close: async () => void events.push('close'),
    }))
    const options = { rounds: 1, warmUpRounds: 1, turns: 2, warmUpTurns: 1, random: Math.random }
    await measureInterleaved(competitors, options)
    const round = ['open', 'open', ...Array<string>(6).fill('turn'), 'close', 'close']
    const seen = events.map((event) => (event.length === 1 ? 'turn' : event))
    expect(seen).toEqual([...round, ...round])
    // Nobody has the second turn before everybody has had the first.
    const turns = events.filter((event) => event.length === 1)
    for (let at = 0; at < turns.length; at += 2) expect(turns[at]).not.toBe(turns[at + 1])
  })

  it('takes the median of the turns of a round that count', async () => {
    const figures = [100, 7, 1, 5, 100, 2, 8, 3]
    const options = { rounds: 2, warmUpRounds: 0, turns: 3, warmUpTurns: 1, random: Math.random }
    const measured = await measureInterleaved(
      [{ name: 'a', sample: async () => figures.shift()! }],
      options,
    )
    expect(measured.get('a')).toEqual([5, 3])
  })

  it('closes those that are open where a turn fails', async () => {
    let open = 0
    const competitor = (name: string, fails: boolean): Competitor => ({
      name,
      open: async () => void open++,
      sample: () => (fails ? Promise.reject(new Error('lost')) : Promise.resolve(1)),
      close: async () => void open--,
    })
    const competitors = [competitor('a', false), competitor('b', true)]
    const options = { rounds: 2, warmUpRounds: 0, random: Math.random }
    await expect(measureInterleaved(competitors, options)).rejects.toThrow('lost')
    expect(open).toBe(0)
  })

  it('refuses two competitors of one name', async () => {
    const { competitors } = contest()
    const options = { rounds: 1, warmUpRounds: 0, random: Math.random }
    await expect(measureInterleaved([...competitors, competitors[0]!], options)).rejects.toThrow(
      'two competitors have one name',
    )
  })
})

describe('shuffled', () => {
  it('has everybody in every place about equally often', () => {
    const random = createSeededRandom(1)
    const times = new Map<string, number>()
    for (let turn = 0; turn < 4_000; turn++) {
      shuffled(NAMES, random).forEach((name, place) => {
        const key = `${name} at ${place}`
        times.set(key, (times.get(key) ?? 0) + 1)
      })
    }
    expect(times.size).toBe(16)
    // 1,000 on average; the standard deviation is 27.
    for (const count of times.values()) expect(Math.abs(count - 1_000)).toBeLessThan(140)
  })

  it('leaves the items as they are', () => {
    const items = Object.freeze([...NAMES])
    expect(shuffled(items, Math.random).toSorted()).toEqual(items)
  })
})
