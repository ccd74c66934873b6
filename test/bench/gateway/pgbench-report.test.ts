import { readPgbenchReport } from '../../../bench/gateway/pgbench/pgbench-report.js'

/** As version 15 prints it. */
const PRINTED = `pgbench (15.14 (Debian 15.14-0+deb12u1))
starting vacuum...end.
transaction type: <builtin: select only>
scaling factor: 16
query mode: prepared
number of clients: 4
number of threads: 1
maximum number of tries: 1
number of transactions per client: 2000
number of transactions actually processed: 8000/8000
number of failed transactions: 0 (0.000%)
latency average = 0.204 ms
initial connection time = 12.802 ms
tps = 19607.843137 (without initial connection time)
`

describe('the report of pgbench', () => {
  it('is read without the time that the connections took', () => {
    expect(readPgbenchReport(PRINTED)).toEqual({ transactions: 8_000, perSecond: 19_607.843137 })
  })

  it('is read as versions before 14 print it', () => {
    const printed = PRINTED.replace(/number of failed.*\n|initial connection time = .*\n/g, '')
      .replace(' (without initial connection time)', ' (including connections establishing)')
      .concat('tps = 19711.002417 (excluding connections establishing)\n')
    expect(readPgbenchReport(printed)).toEqual({ transactions: 8_000, perSecond: 19_711.002417 })
  })

  it('is read where the number of transactions stands alone, as after a run by time', () => {
    const printed = PRINTED.replace('8000/8000', '7311')
    expect(readPgbenchReport(printed).transactions).toBe(7_311)
  })

  it.each([
    ['transactions failed', /failed transactions: 0/, 'failed transactions: 3'],
    ['a client gave up', '8000/8000', '6120/8000'],
    ['nothing was done', '8000/8000', '0'],
    ['it does not say what was done', /number of transactions actually.*/, ''],
  ])('is refused where %s', (_what, from, to) => {
    const printed = PRINTED.replace(from, to)
    expect(() => readPgbenchReport(printed)).toThrow('pgbench did not do all of its transactions')
  })

  it.each([
    ['in another language', 'tps = 19607 (ohne initiale Verbindungszeit)'],
    ['that is infinite', 'tps = inf (without initial connection time)'],
    ['of nothing', 'tps = 0.000000 (without initial connection time)'],
    ['that is missing', ''],
  ])('is refused with a rate %s', (_what, line) => {
    const printed = PRINTED.replace(/^tps.*$/m, line)
    expect(() => readPgbenchReport(printed)).toThrow('pgbench printed no transactions a second')
  })
})
