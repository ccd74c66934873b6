import { problemsOf, type ClientSummary, type Summary } from '../../examples/demo/summary.js'

const CLIENT: ClientSummary = {
  name: 'pg',
  connections: 6,
  open: 0,
  tokens: 6,
  credentials: 2,
  queries: 40,
  notes: 10,
  transactions: 10,
  conflicts: 0,
  failures: 0,
  errors: [],
}

const ENTRY = { notes: 10, sent: 10, received: 10 }

const REFUSAL = { token: 'expired', clientSaw: '08006', gatewayLogged: 'ended', isRefused: true }

function summary(client: Partial<ClientSummary>, rest: Partial<Summary> = {}): Summary {
  const clients = [{ ...CLIENT, ...client }]
  const ledger = new Map([['pg', ENTRY]])
  return { clients, ledger, refusals: [REFUSAL], isInterrupted: false, ...rest }
}

describe('problemsOf', () => {
  it('returns no problem if no query failed and no data was lost', () => {
    expect(problemsOf(summary({}))).toEqual([])
  })

  it('reports failed queries with their first errors', () => {
    const errors = [new Error('connection lost'), new Error('out of luck')]
    expect(problemsOf(summary({ failures: 7, errors }))).toEqual([
      'pg: 7 failed.\n  Error: connection lost\n  Error: out of luck',
    ])
  })

  it('reports an idle client, unless the demo was interrupted', () => {
    const idle = { queries: 0, notes: 0, transactions: 0 }
    const ledger = new Map([['pg', { notes: 0, sent: 0, received: 0 }]])
    expect(problemsOf(summary(idle, { ledger }))).toEqual(['pg: it did not run a single query.'])
    expect(problemsOf(summary(idle, { ledger, isInterrupted: true }))).toEqual([])
  })

  it.each([
    ['a lost note', { ...ENTRY, notes: 9 }, 'pg: 10 notes were written, but 9 were found.'],
    [
      'half a transaction',
      { ...ENTRY, received: 9 },
      'pg: 10 transactions were committed, 10 were sent and 9 received.',
    ],
    [
      'a transaction that ran twice',
      { ...ENTRY, sent: 11, received: 11 },
      'pg: 10 transactions were committed, 11 were sent and 11 received.',
    ],
  ])('reports %s', (_case, entry, problem) => {
    expect(problemsOf(summary({}, { ledger: new Map([['pg', entry]]) }))).toEqual([problem])
  })

  it('reports connections that were not closed', () => {
    expect(problemsOf(summary({ open: 2 }))).toEqual(['pg: 2 of its connections were not closed.'])
  })

  it('reports a bad token that was accepted', () => {
    const refusals = [{ ...REFUSAL, isRefused: false }]
    expect(problemsOf(summary({}, { refusals }))).toEqual([
      'The bad token (expired) was not refused for the expected reason.',
    ])
  })
})
