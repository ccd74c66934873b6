import { runText } from '../../../../bench/frame/report/text.js'
import type { BenchRun } from '../../../../bench/frame/run-benchmarks.js'

const RUN: BenchRun = {
  startedAt: '2026-01-31T12:00:00.000Z',
  tookSecs: 61.5,
  seed: 1,
  isQuick: false,
  machine: {
    pgIam: '0.1.0',
    node: '20.19.0',
    openssl: '3.0.15',
    platform: 'linux x64',
    processors: 2,
    processorModel: 'AMD EPYC',
  },
  loadBefore: 0.1,
  versions: { pg: '8.20.0' },
  benchmarks: [],
  leftOut: [],
}

describe('what the benchmarks print', () => {
  it('says on what they ran', () => {
    expect(runText(RUN)).toBe(
      [
        'pg-iam 0.1.0, Node 20.19.0, OpenSSL 3.0.15, linux x64, 2 × AMD EPYC',
        'pg 8.20.0',
        '2026-01-31T12:00:00.000Z, seed 1, 62 s; load before it: 0.10',
        '\n',
      ].join('\n'),
    )
  })

  it('says what was left out, and why', () => {
    const leftOut = [{ name: 'gateway', why: 'there is no pgbench' }]
    expect(runText({ ...RUN, leftOut })).toContain(
      '\nthe benchmark "gateway" cannot run: there is no pgbench\n',
    )
  })
})
