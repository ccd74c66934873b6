/** The command line of the soak. */
import { parseArgs } from 'node:util'
import { seedOf, wrongOption } from '../support/seeded-random.js'
import { CLIENT_NAMES, isClientName, type ClientName } from './messages.js'

export interface SoakOptions {
  /** For how long the clients work, in minutes. */
  readonly minutes: number
  /** What the chance of tasks and troubles follows from; when they meet is up to the machine. */
  readonly seed: number
  readonly clients: readonly ClientName[]
  /** Where the results go as JSON, if anywhere. */
  readonly json: string | undefined
}

const DEFAULT_MINUTES = 2
const MOST_MINUTES = 24 * 60

export const USAGE = `usage: npm run soak -- [--minutes N] [--seed N] [--clients NAME,NAME] [--json FILE]

  --minutes N     for how long the clients work, above 0 and up to ${MOST_MINUTES}; ${DEFAULT_MINUTES} by default
  --seed N        a whole number from 0; 1 by default
  --clients A,B   some of ${CLIENT_NAMES.join(', ')}; all by default
  --json FILE     writes the results to a file, too`

/** @throws Error for a command line that it does not understand, with what is wrong about it */
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
