import type { ClientEnd } from '../../../bench/soak/client-process.js'
import type { ClientReport } from '../../../bench/soak/messages.js'
import { clientFaults } from '../../../bench/soak/verdict/faults.js'
import { remainsFaults, troubleFaults } from '../../../bench/soak/verdict/stage-faults.js'

const GOOD: ClientReport = {
  calls: { queries: 9, confirmed: 3, repeated: 1, failed: 2, hanging: 0, late: 4, lateDone: 0 },
  connections: { connections: 4, reconnects: 1, tokens: 5, conflicts: 1 },
  failures: { '57P01': 2 },
  unexpected: {},
  crashes: [],
  warnings: [],
  leftBehind: [],
  resourcesBefore: { PipeWrap: 2, Timeout: 1 },
  resourcesAfter: { PipeWrap: 2, Timeout: 3 },
  heap: [1],
  outcomes: [],
}

function faultsOf(change: Partial<ClientReport>, end: Partial<ClientEnd> = {}): string[] {
  const report = { ...GOOD, ...change }
  return clientFaults('pg', { report, exit: 0, lastWords: '', ...end }).map(
    ({ kind, text }) => `${kind}: ${text}`,
  )
}

describe('the verdict on a client', () => {
  it('is good where its calls failed of nothing but troubles, and nothing is left', () => {
    expect(faultsOf({})).toEqual([])
  })

  it.each<[string, Partial<ClientReport>]>([
    ['crash: pg: Error: boom', { crashes: ['Error: boom'] }],
    [
      'leak: pg: 2 TCPSocketWrap (0 before) still open',
      { resourcesAfter: { PipeWrap: 2, TCPSocketWrap: 2 } },
    ],
    ['leak: pg: 3 PipeWrap (2 before) still open', { resourcesAfter: { PipeWrap: 3 } }],
    [
      'leak: pg: MaxListenersExceededWarning: 11 listeners',
      { warnings: ['MaxListenersExceededWarning: 11 listeners'] },
    ],
    [
      'zombie: pg: pool 0 (createPool): 1 connections outlived it',
      { leftBehind: ['pool 0 (createPool): 1 connections outlived it'] },
    ],
    [
      'zombie: pg: 1 statements of dead transactions were run',
      { calls: { ...GOOD.calls, lateDone: 1 } },
    ],
    [
      'failure: pg: 2 calls failed of 25P02: Error: aborted',
      { failures: { '57P01': 2, '25P02': 2 }, unexpected: { '25P02': 'Error: aborted' } },
    ],
    ['failure: pg: 1 calls did not end', { calls: { ...GOOD.calls, hanging: 1 } }],
    ['idle: pg: it confirmed no transaction', { calls: { ...GOOD.calls, confirmed: 0 } }],
  ])('is %s', (fault, change) => {
    expect(faultsOf(change)).toEqual([fault])
  })

  it.each<[string, Partial<ClientEnd>]>([
    ['leak: pg: its process did not end', { exit: 'hangs' }],
    ['crash: pg: its process ended with 7', { exit: 7 }],
    [
      'crash: pg: its process ended with SIGKILL: out of memory',
      { exit: 'SIGKILL', report: undefined, lastWords: 'out of memory' },
    ],
    ['crash: pg: its process told nothing', { report: undefined }],
  ])('is %s, by how its process ended', (fault, end) => {
    expect(faultsOf({}, end)).toEqual([fault])
  })
})

describe("the verdict on the server's side", () => {
  const NOTHING = { backends: [], gateway: { connectionsOpen: 0, sessionsOpen: 0 }, strays: 0 }

  it('is good where nothing is left', () => {
    expect(remainsFaults(NOTHING)).toEqual([])
  })

  it.each([
    [
      'a backend outlived its client: soak_pg 4711, idle: SELECT 1',
      { backends: ['soak_pg 4711, idle: SELECT 1'] },
    ],
    ['the gateway has 1 connections open', { gateway: { connectionsOpen: 1, sessionsOpen: 0 } }],
    ['the gateway has 2 sessions open', { gateway: { connectionsOpen: 0, sessionsOpen: 2 } }],
    ['3 rows were written by statements of dead transactions', { strays: 3 }],
  ])('is that %s', (text, change) => {
    expect(remainsFaults({ ...NOTHING, ...change })).toEqual([{ kind: 'zombie', text }])
  })
})

describe('a run without what it is for', () => {
  it('is no success', () => {
    expect(troubleFaults({ 'cut before TLS': 1 }, 1)).toEqual([])
    expect(troubleFaults({}, 1)).toEqual([{ kind: 'idle', text: 'no connection had any trouble' }])
    expect(troubleFaults({ 'cut before TLS': 1 }, 0)).toEqual([
      { kind: 'idle', text: 'no transaction met a conflict' },
    ])
  })
})
