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

describe('the soak verdict on a client', () => {
  it('is good if its calls failed only because of injected faults, and nothing is left open', () => {
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
      'zombie: pg: 1 statements of ended transactions were run',
      { calls: { ...GOOD.calls, lateDone: 1 } },
    ],
    [
      'failure: pg: 2 calls failed with 25P02: Error: aborted',
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
    ['crash: pg: its process sent no report', { report: undefined }],
  ])('is %s, because of the way its process ended', (fault, end) => {
    expect(faultsOf({}, end)).toEqual([fault])
  })
})

describe('the soak verdict on the server side', () => {
  const NOTHING = { backends: [], gateway: { connectionsOpen: 0, sessionsOpen: 0 }, strays: 0 }

  it('is good if nothing is left open', () => {
    expect(remainsFaults(NOTHING)).toEqual([])
  })

  it.each([
    [
      'a backend outlived its client: soak_pg 4711, idle: SELECT 1',
      { backends: ['soak_pg 4711, idle: SELECT 1'] },
    ],
    ['the gateway has 1 connections open', { gateway: { connectionsOpen: 1, sessionsOpen: 0 } }],
    ['the gateway has 2 sessions open', { gateway: { connectionsOpen: 0, sessionsOpen: 2 } }],
    ['3 rows were written by statements of ended transactions', { strays: 3 }],
  ])('reports that %s', (text, change) => {
    expect(remainsFaults({ ...NOTHING, ...change })).toEqual([{ kind: 'zombie', text }])
  })
})

describe('the soak verdict on a run without injected faults or conflicts', () => {
  it('is a failure', () => {
    expect(troubleFaults({ 'cut before TLS': 1 }, 1)).toEqual([])
    expect(troubleFaults({}, 1)).toEqual([
      { kind: 'idle', text: 'no fault was injected into a connection' },
    ])
    expect(troubleFaults({ 'cut before TLS': 1 }, 0)).toEqual([
      { kind: 'idle', text: 'no transaction had a conflict' },
    ])
  })
})

const withCode = (code: string): Error => Object.assign(new Error('it failed'), { code })

describe('the cause of a failed call', () => {
  it.each([
    ['from the application', withCode(CHANGED_MIND), CHANGED_MIND],
    ['from the server', withCode('57P01'), '57P01'],
    ['from the network', new Error('wrapped', { cause: withCode('ECONNRESET') }), 'ECONNRESET'],
    [
      'from a driver',
      new Error('insert into "note" - Connection terminated unexpectedly'),
      'Connection terminated unexpectedly',
    ],
    [
      'an unknown outcome',
      new PgIamError('ERR_OUTCOME_UNKNOWN', 'unknown', { cause: withCode('57P01') }),
      'ERR_OUTCOME_UNKNOWN',
    ],
  ])('is expected if it is %s', (_what, error, name) => {
    expect(causeOf(error)).toEqual({ name, isExpected: true })
  })

  it.each([
    ['a conflict that was not retried', withCode('40001'), '40001'],
    ['a statement in a failed transaction', withCode('25P02'), '25P02'],
    ['a refused token', withCode('28000'), '28000'],
    ['one without a code', new TypeError('x is not a function'), 'x is not a function'],
    ['a value that is not an error', 'gone', 'gone'],
  ])('is not expected if it is %s', (_what, error, name) => {
    expect(causeOf(error)).toEqual({ name, isExpected: false })
  })
})
