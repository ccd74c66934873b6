import { soakOptions } from '../../../bench/soak/soak-options.js'

const ALL = ['sequelize', 'typeorm', 'knex', 'drizzle', 'drizzle-postgres-js', 'pg', 'postgres-js']

describe('the command line of the soak', () => {
  it('is two minutes of every client, where it does not say', () => {
    expect(soakOptions([])).toEqual({ minutes: 2, seed: 1, clients: ALL, json: undefined })
  })

  it('says for how long, from which seed, of which clients, and where the results go', () => {
    const words = ['--minutes', '0.5', '--seed=7', '--clients', 'pg,knex', '--json', 'soak.json']
    expect(soakOptions(words)).toEqual({
      minutes: 0.5,
      seed: 7,
      clients: ['knex', 'pg'],
      json: 'soak.json',
    })
  })

  it.each([
    [['--minutes', '0'], '"--minutes" must be a number above 0 and up to 1440, got "0"'],
    [['--minutes', 'two'], '"--minutes" must be a number above 0 and up to 1440, got "two"'],
    [['--minutes', '1441'], '"--minutes" must be a number above 0 and up to 1440, got "1441"'],
    [['--seed', '1.5'], '"--seed" must be a whole number from 0, got "1.5"'],
    [['--seed', ''], '"--seed" must be a whole number from 0, got ""'],
    [['--clients', 'pg,mysql'], `"--clients" must be some of ${ALL.join(', ')}, got "mysql"`],
    [['--clients', ''], `"--clients" must be some of ${ALL.join(', ')}, got ""`],
    [['--json', ''], '"--json" must be the name of a file, got ""'],
    [['--hours', '1'], "Unknown option '--hours'"],
    [['2'], "Unexpected argument '2'"],
  ])('is refused where it is %j', (words, message) => {
    expect(() => soakOptions(words)).toThrow(message)
  })
})
