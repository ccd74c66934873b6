/** `npm run bench -- dsql`: the cost of DSQL mode, compared with the same gateway and `sql: 'postgres'`. */
import { Client } from 'pg'
import type { Gateway } from '../gateway/index.js'
import { pgConfig } from '../adapters/pg.js'
import { judge } from '../gateway/dsql/verdict.js'
import { loadSqlParser } from '../dsql/statement.js'
import { average, type Benchmark } from './benchmark.js'
import { competitor } from './rounds.js'

const UPDATE = 'UPDATE counter SET n = n + 1 WHERE id = 1'
const WORK: Readonly<Record<string, readonly string[]>> = {
  'a query': ['SELECT n FROM counter WHERE id = 1'],
  'an update': [UPDATE],
  'a transaction with an update': ['BEGIN', UPDATE, 'COMMIT'],
}

export const dsql: Benchmark = async ({ isQuick, measure }) => {
  const entry = 'pg-iam/gateway'
  const { startGateway } = (await import(entry)) as typeof import('../gateway/index.js')
  const gateways: Gateway[] = []
  try {
    const open = async (sql: 'aurora-dsql' | 'postgres'): Promise<Client> => {
      const gateway = await startGateway({ engine: 'postgres', sql })
      gateways.push(gateway)
      const client = new Client(pgConfig(gateway.login({ user: 'admin' })))
      await client.connect()
      await client.query('CREATE TABLE counter (id int PRIMARY KEY, n int)')
      await client.query('INSERT INTO counter VALUES (1, 0)')
      return client
    }
    const clients = { postgres: await open('postgres'), dsql: await open('aurora-dsql') }
    const effort = isQuick ? { rounds: 1 } : { rounds: 11, warmUpRounds: 2 }
    const turns = isQuick ? 5 : 400
    for (const [what, statements] of Object.entries(WORK)) {
      const run = (name: string, client: Client) =>
        competitor(name, async () => {
          const startedAt = performance.now()
          for (let turn = 0; turn < turns; turn++)
            for (const statement of statements) await client.query(statement)
          return average(startedAt, turns) * 1_000
        })
      const [baseline, other] = [
        run("sql: 'postgres'", clients.postgres),
        run('DSQL mode', clients.dsql),
      ]
      await measure({ what, unit: 'µs', baseline, others: [other] }, effort)
    }
    for (const client of Object.values(clients)) await client.end()
    const parser = await loadSqlParser()
    let place = 0
    const parse = (name: string, textOf: () => string) =>
      competitor(name, async () => {
        const startedAt = performance.now()
        for (let turn = 0; turn < turns; turn++) {
          const { statements = [] } = parser.parse(textOf()) as { statements?: [] }
          statements.map(judge)
        }
        return average(startedAt, turns) * 1_000
      })
    const long = `SELECT ${Array.from({ length: 120 }, (_, column) => `t.column_${column}`).join(', ')} FROM t WHERE id = `
    await measure(
      {
        what: `the rules on a text of ${long.length} characters`,
        unit: 'µs',
        baseline: parse('seen before', () => `${long}1`),
        others: [parse('seen first', () => `${long}${place++}`)],
      },
      effort,
    )
  } finally {
    for (const gateway of gateways) await gateway.close()
  }
}
