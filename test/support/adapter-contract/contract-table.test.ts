import { countContract, renderContract } from './contract-table.cjs'

const assertion = (client: string, section: string, status: string, engine = 'on PGlite') => ({
  ancestorTitles: [`contract of ${client}`, engine, 'variant', section],
  status,
})

describe('renderContract', () => {
  it('shows what passed and what failed, by client and promise, and a dash for what did not run', () => {
    const counts = countContract([
      assertion('pg', 'promise 1: one token', 'passed'),
      assertion('pg', 'promise 1: one token', 'passed', 'on PostgreSQL'),
      assertion('knex', 'promise 1: one token', 'failed'),
      assertion('knex', 'promise 2: one call', 'passed'),
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
`)
  })
})
