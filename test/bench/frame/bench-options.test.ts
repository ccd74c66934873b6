import { benchOptions } from '../../../bench/frame/bench-options.js'

const KNOWN = ['queries', 'connects', 'tokens']

describe('the command line of the benchmarks', () => {
  it('is all of them in full, where it does not say', () => {
    expect(benchOptions([], KNOWN)).toEqual({
      names: KNOWN,
      isQuick: false,
      seed: 1,
      json: undefined,
      svg: undefined,
    })
  })

  it('says which, how thoroughly, in which order, and where the results go', () => {
    const words = ['tokens', '--quick', 'queries', '--seed=7', '--json', 'r.json', '--svg', 'out']
    expect(benchOptions(words, KNOWN)).toEqual({
      names: ['queries', 'tokens'],
      isQuick: true,
      seed: 7,
      json: 'r.json',
      svg: 'out',
    })
  })

  it.each([
    [['gateways'], 'there is no benchmark "gateways", only queries, connects, tokens'],
    [['--seed', '-1'], "Option '--seed' argument is ambiguous"],
    [['--seed=-1'], '"--seed" must be a whole number from 0, got "-1"'],
    [['--seed', '0x'], '"--seed" must be a whole number from 0, got "0x"'],
    [['--json', ''], '"--json" must be the name of a file, got ""'],
    [['--svg', ''], '"--svg" must be the name of a folder, got ""'],
    [['--fast'], "Unknown option '--fast'"],
  ])('is refused where it is %j', (words, message) => {
    expect(() => benchOptions(words, KNOWN)).toThrow(message)
  })
})
