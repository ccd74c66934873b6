import { countContract, renderContract } from './contract-table.cjs'

const assertion = (
  client: string,
  section: string,
  status: string,
  { engine = 'on PGlite', provider = 'with rds' } = {},
) => ({
  ancestorTitles: [`contract of ${client}`, provider, engine, 'entry', section],
  status,
})

describe('renderContract', () => {
  it('shows the results by client, promise and provider, and a dash for tests that did not run', () => {
    const counts = countContract([
      assertion('pg', 'promise 1: one token', 'passed'),
      assertion('pg', 'promise 1: one token', 'passed', { engine: 'on PostgreSQL' }),
      assertion('knex', 'promise 1: one token', 'failed'),
      assertion('knex', 'promise 2: one call', 'passed', { provider: 'with entra' }),
      assertion('pg', 'promise 2: one call', 'pending'),
      { ancestorTitles: ['createPool'], status: 'passed' },
    ])
    expect(renderContract(counts))
      .toBe(`Tests of the contract that passed, on PGlite and PostgreSQL:

| client | 1           | 2  |
| ------ | ----------- | -- |
| knex   | 0, 1 FAILED | 1  |
| pg     | 2           | -  |

- 1: one token
- 2: one call

| client | entra | rds         |
| ------ | ----- | ----------- |
| knex   | 1     | 0, 1 FAILED |
| pg     | -     | 2           |
`)
  })
})
