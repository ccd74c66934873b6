import { benchOptions } from '../../../bench/frame/bench-options.js'

const KNOWN = ['queries', 'connects', 'tokens']

describe('the command line of the benchmarks', () => {
  it('is all of them in full, where it does not say', () => {
    expect(benchOptions([], KNOWN)).toEqual({
      names: KNOWN,
      areNamed: false,
      isQuick: false,
      seed: 1,
      json: undefined,
      svg: undefined,
      docs: undefined,
      from: [],
    })
  })

  it('says which, how thoroughly, in which order, and where the results go', () => {
    const words = ['tokens', '--quick', 'queries', '--seed=7', '--json', 'r.json', '--svg', 'out']
    expect(benchOptions(words, KNOWN)).toEqual({
      names: ['queries', 'tokens'],
      areNamed: true,
      isQuick: true,
      seed: 7,
      json: 'r.json',
      svg: 'out',
      docs: undefined,
      from: [],
    })
  })

  it('says where the page goes, and of which earlier results it is made', () => {
    expect(benchOptions(['--docs', 'docs'], KNOWN)).toMatchObject({ names: KNOWN, docs: 'docs' })
    const words = ['--docs', 'docs', '--from', 'one.json', '--from', 'other.json']
    expect(benchOptions(words, KNOWN)).toMatchObject({
      docs: 'docs',
      from: ['one.json', 'other.json'],
    })
  })

  it.each([
    [['gateways'], 'there is no benchmark "gateways", only queries, connects, tokens'],
    [['--seed', '-1'], "Option '--seed' argument is ambiguous"],
    [['--seed=-1'], '"--seed" must be a whole number from 0, got "-1"'],
    [['--seed', '0x'], '"--seed" must be a whole number from 0, got "0x"'],
    [['--json', ''], '"--json" must be the name of a file, got ""'],
    [['--svg', ''], '"--svg" must be the name of a folder, got ""'],
    [['--docs', ''], '"--docs" must be the name of a folder, got ""'],
    [['--docs', 'docs', '--quick'], 'those of "--quick" are worth nothing'],
    [['--from', 'r.json'], '"--from" needs "--docs DIR"'],
    [['--docs', 'docs', '--from', 'r.json', 'tokens'], '"--from" measures nothing'],
    [['--docs', 'docs', '--from', 'r.json', '--seed', '1'], '"--from" measures nothing'],
    [['--docs', 'docs', '--from', 'r.json', '--json', 's.json'], '"--from" measures nothing'],
    [['--docs', 'docs', '--from', 'r.json', '--svg', 'out'], '"--from" measures nothing'],
    [['--fast'], "Unknown option '--fast'"],
  ])('is refused where it is %j', (words, message) => {
    expect(() => benchOptions(words, KNOWN)).toThrow(message)
  })
})
