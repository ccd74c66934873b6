/** The command line of the soak. */
import { parseArgs } from 'node:util'
import { seedOf, wrongOption } from '../support/seeded-random.js'
import { CLIENT_NAMES, isClientName, type ClientName } from '../clients/index.js'

export interface SoakOptions {
  /** How long the clients work, in minutes. */
  readonly minutes: number
  /** The random seed of tasks and faults. Their timing depends on the machine. */
  readonly seed: number
  readonly clients: readonly ClientName[]
  /** The file for the results as JSON, if any. */
  readonly json: string | undefined
}

const DEFAULT_MINUTES = 2
const MOST_MINUTES = 24 * 60

export const USAGE = `usage: npm run soak -- [--minutes N] [--seed N] [--clients NAME,NAME] [--json FILE]

  --minutes N     for how long the clients work, above 0 and up to ${MOST_MINUTES}; ${DEFAULT_MINUTES} by default
  --seed N        a whole number from 0; 1 by default
  --clients A,B   some of ${CLIENT_NAMES.join(', ')}; all by default
  --json FILE     writes the results to a file, too`

/** @throws Error with an explanation for an invalid command line */
export function soakOptions(words: readonly string[]): SoakOptions {
  const { values } = parseArgs({
    args: [...words],
    options: {
      minutes: { type: 'string', default: String(DEFAULT_MINUTES) },
      seed: { type: 'string', default: '1' },
      clients: { type: 'string', default: CLIENT_NAMES.join() },
      json: { type: 'string' },
    },
  })
  const minutes = Number(values.minutes)
  if (!(minutes > 0 && minutes <= MOST_MINUTES))
    throw wrongOption('minutes', `a number above 0 and up to ${MOST_MINUTES}`, values.minutes)
  const seed = seedOf(values.seed)
  if (values.json === '') throw wrongOption('json', 'the name of a file', values.json)
  return { minutes, seed, clients: chosenClients(values.clients), json: values.json }
}

function chosenClients(list: string): ClientName[] {
  const names = list.split(',')
  const unknown = names.find((name) => !isClientName(name))
  if (unknown !== undefined)
    throw wrongOption('clients', `some of ${CLIENT_NAMES.join(', ')}`, unknown)
  return CLIENT_NAMES.filter((name) => names.includes(name))
}
