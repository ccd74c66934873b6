import { Client } from 'pg'
import { launchPostgres, type PostgresServer } from '../support/launch-postgres.js'
import {
  IDS_PER_POOL,
  Outcome,
  createOutcomeLog,
  ledgerFaults,
  schemaOf,
  type Admin,
} from './ledger.js'

let postgres: PostgresServer
let client: Client
const admin: Admin = async (text, values = []) =>
  (await client.query<Record<string, unknown>>(text, values)).rows

beforeAll(async () => {
  postgres = await launchPostgres({ roles: ['app'] })
  const { socketDirectory: host, port, database, superuser: user } = postgres
  client = new Client({ host, port, user, database, ssl: false })
  await client.connect()
})
beforeEach(async () => {
  await admin('DROP TABLE IF EXISTS note, leg, account, stray')
  await admin('DROP FUNCTION IF EXISTS linger')
  for (const statement of schemaOf(2, ['app'])) await admin(statement)
})
afterAll(async () => {
  await client.end()
  await postgres.close()
})

const note = (id: number): string => `INSERT INTO note VALUES (${id})`
const leg = (id: number, account: number, amount: number): string =>
  `UPDATE account SET balance = balance + ${amount} WHERE id = ${account};
   INSERT INTO leg VALUES (${id}, ${account}, ${amount}, false)`
const transfer = (id: number): string => `${note(id)}; ${leg(id, 0, -5)}; ${leg(id, 1, 5)}`

/** The faults that the ledger reports for IDs with these outcomes, after each of `transactions` has run. */
async function faultsAfter(
  outcomes: readonly Outcome[],
  ...transactions: readonly string[]
): Promise<string[]> {
  // Several statements in one simple query are one transaction.
  for (const transaction of transactions) await admin(transaction)
  return ledgerFaults(admin, [{ pool: 0, outcomes: Uint8Array.from(outcomes) }])
}

const { confirmed, open, refused, unknown, writeLost, written } = Outcome

describe('the soak ledger', () => {
  it('is consistent if all confirmed rows exist, and no failed ones', async () => {
    const outcomes = [confirmed, written, writeLost, writeLost, unknown, unknown, refused, open]
    const rows = [transfer(0), note(1), note(2), transfer(4), transfer(7)]
    expect(await faultsAfter(outcomes, ...rows)).toEqual([])
  })

  it.each<[string, Outcome, string, string[]]>([
    ['that was confirmed is missing', confirmed, 'SELECT', []],
    ['that was confirmed occurs twice', confirmed, 'twice', [transfer(0), transfer(0)]],
    ['that was confirmed is incomplete', confirmed, 'in part', [`${note(0)}; ${leg(0, 0, -5)}`]],
    ['that was confirmed has no note', confirmed, 'no note', [`${leg(0, 0, -5)}; ${leg(0, 1, 5)}`]],
    [
      'was written by two transactions',
      confirmed,
      'two transactions',
      [`${note(0)}; ${leg(0, 0, -5)}`, leg(0, 1, 5)],
    ],
    [
      'has legs that do not match',
      confirmed,
      'sum',
      [`${note(0)}; ${leg(0, 0, -5)}; ${leg(0, 1, 4)}`],
    ],
    ['of unknown outcome is incomplete', unknown, 'part', [note(0)]],
    ['of unknown outcome occurs twice', unknown, 'twice', [transfer(0), transfer(0)]],
    ['that was rolled back exists', refused, 'whole', [transfer(0)]],
    ['that was rolled back exists in part', refused, 'leg', [leg(0, 0, -5)]],
    ['that did not end is incomplete', open, 'part', [leg(0, 0, -5)]],
  ])('is inconsistent if a transfer %s', async (_what, outcome, _how, transactions) => {
    expect(await faultsAfter([outcome], ...transactions)).toEqual([
      expect.stringMatching(/^ID 0: .* but it was found /),
    ])
  })

  it.each<[string, Outcome, string[]]>([
    ['that was written is missing', written, []],
    ['that was written occurs twice', written, [note(0), note(0)]],
    ['that was lost occurs twice', writeLost, [note(0), note(0)]],
  ])('is inconsistent if a row %s', async (_what, outcome, transactions) => {
    expect(await faultsAfter([outcome], ...transactions)).toHaveLength(1)
  })

  it('is inconsistent if a statement ran outside of its transaction', async () => {
    const lone = 'UPDATE account SET balance = balance + 7 WHERE id = 3'
    expect(await faultsAfter([confirmed], transfer(0), lone)).toEqual([
      'account 3 holds 7, and its legs brought 0',
    ])
  })

  it('is inconsistent if there are rows with unknown IDs', async () => {
    expect(await faultsAfter([confirmed], transfer(0), note(1))).toEqual([
      '1 rows have IDs that no client used',
    ])
  })

  it('is checked from the first ID to the last one, for each pool', async () => {
    const count = 100_001
    await admin(
      `INSERT INTO note SELECT generate_series(${IDS_PER_POOL}, ${IDS_PER_POOL + count - 1})`,
    )
    await admin(`DELETE FROM note WHERE id = ${IDS_PER_POOL + count - 1}`)
    const log = createOutcomeLog(1)
    for (let index = 0; index < count; index++) log.set(log.next(), written)
    const outcomes = log.read()
    expect(outcomes).toEqual(new Uint8Array(count).fill(written))
    const faults = await ledgerFaults(admin, [
      { pool: 0, outcomes: new Uint8Array() },
      { pool: 1, outcomes },
    ])
    expect(faults).toEqual([expect.stringMatching(`ID ${IDS_PER_POOL + count - 1}: `)])
  })
})
