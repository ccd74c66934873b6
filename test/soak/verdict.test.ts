import { PgIamError } from '../../core/index.js'
import type { ClientEnd, ClientReport } from './messages.js'
import { CHANGED_MIND, causeOf, clientFaults, remainsFaults, troubleFaults } from './verdict.js'

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
  return clientFaults('pg', { report, exit: 0, lastOutput: '', ...end }).map(
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
      { exit: 'SIGKILL', report: undefined, lastOutput: 'out of memory' },
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

const withCode = (code: string): Error => Object.assign(new Error('it failed'), { code })

describe('the cause of a failed call', () => {
  it.each([
    ['of the application', withCode(CHANGED_MIND), CHANGED_MIND],
    ['of the server', withCode('57P01'), '57P01'],
    ['of the network', new Error('wrapped', { cause: withCode('ECONNRESET') }), 'ECONNRESET'],
    [
      'of a driver',
      new Error('insert into "note" - Connection terminated unexpectedly'),
      'Connection terminated unexpectedly',
    ],
    [
      'that nobody knows the outcome',
      new PgIamError('ERR_OUTCOME_UNKNOWN', 'unknown', { cause: withCode('57P01') }),
      'ERR_OUTCOME_UNKNOWN',
    ],
  ])('is expected where it is %s', (_what, error, name) => {
    expect(causeOf(error)).toEqual({ name, isExpected: true })
  })

  it.each([
    ['a conflict that was not retried', withCode('40001'), '40001'],
    ['a transaction that another one has broken', withCode('25P02'), '25P02'],
    ['a refused token', withCode('28000'), '28000'],
    ['one without a code', new TypeError('x is not a function'), 'x is not a function'],
    ['no error at all', 'gone', 'gone'],
  ])('is not expected where it is %s', (_what, error, name) => {
    expect(causeOf(error)).toEqual({ name, isExpected: false })
  })
})
