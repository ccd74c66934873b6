/** What the command prints: results on stdout, and messages on stderr, as text or as JSON. */
import type { Writable } from 'node:stream'
import { styleText } from 'node:util'
import type { Logger } from '../core/events.js'
import { describeFailure, type Failure } from './failure.js'

/** What a command gets from its process, as parameters. */
export interface Io {
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  readonly stdin: { readonly isTTY?: boolean }
  readonly stdout: Output
  readonly stderr: Output
  /** Calls the function for each signal of that name. Returns the function that stops it. */
  onSignal(name: NodeJS.Signals, act: () => void): () => void
}

type Output = Pick<Writable, 'write'> & { readonly isTTY?: boolean }

export interface Printer {
  /** Prints a result. */
  result(text: string): void
  /** Prints a line about the state of the command, such as an address. */
  note(text: string): void
  warn(text: string): void
  fail(failure: Failure): void
  /** For the messages of logins and of the gateway. */
  readonly logger: Logger
}

export type Verbosity = 'quiet' | 'normal' | 'verbose'

/** @param isJson whether messages are JSON, one a line */
export function createPrinter(
  { stdout, stderr, env }: Pick<Io, 'stdout' | 'stderr' | 'env'>,
  { isJson = false, verbosity = 'normal' }: { isJson?: boolean; verbosity?: Verbosity } = {},
): Printer {
  const hasColor = stderr.isTTY === true && !env['NO_COLOR']
  const colored = (format: 'red' | 'yellow' | 'dim', text: string): string =>
    hasColor ? styleText(format, text) : text
  const line = (level: string, text: string, fields: object = {}): void => {
    if (isJson)
      stderr.write(`${JSON.stringify({ time: new Date(), level, message: text, ...fields })}\n`)
    else {
      const details = Object.entries(fields).map(([name, value]) => ` ${name}=${shown(value)}`)
      const prefix = level === 'error' || level === 'warn' ? `${NAMES[level]}: ` : ''
      const whole = `pg-iam: ${prefix}${text}${details.join('')}`
      stderr.write(
        `${level === 'error' ? colored('red', whole) : level === 'warn' ? colored('yellow', whole) : whole}\n`,
      )
    }
  }
  const log =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (message: string, details: object = {}): void => {
      const isShown =
        verbosity === 'verbose' || level === 'error' || (level === 'warn' && verbosity === 'normal')
      if (isShown) line(level, message.replace(/^(?:gateway|pg-iam): /, ''), loggable(details))
    }
  return {
    result: (text) => void stdout.write(`${text}\n`),
    note: (text) => {
      if (verbosity !== 'quiet') line('info', text)
    },
    warn: (text) => line('warn', text),
    fail({ message, hint, code, exitCode }) {
      if (isJson) {
        line('error', message, { code, hint, exitCode })
        return
      }
      const end = /[.!?]$/.test(message) ? '' : '.'
      line('error', hint === undefined ? message : `${message}${end} ${hint}`)
    },
    logger: {
      debug: log('debug'),
      info: log('info'),
      warn: log('warn'),
      error: log('error'),
    },
  }
}

const NAMES = { error: 'error', warn: 'warning' } as const

function shown(value: unknown): string {
  return typeof value === 'string' && /^[\w@.:/-]+$/.test(value) ? value : JSON.stringify(value)
}

/**
 * The details of a log message that can be shown: texts, numbers, and the messages of errors. Objects are left out: a log is no place for
 * what a driver or an SDK may have put into them.
 */
function loggable(details: object): object {
  return Object.fromEntries(
    Object.entries(details).flatMap(([name, value]: [string, unknown]) => {
      if (value instanceof Error) return [[name, describeFailure(value).message]]
      if (value instanceof Date) return [[name, value.toISOString()]]
      return ['string', 'number', 'boolean'].includes(typeof value) ? [[name, value]] : []
    }),
  )
}

/** Aligned lines. */
export function table(fields: Readonly<Record<string, string>>): string {
  const width = Math.max(...Object.keys(fields).map((name) => name.length))
  return Object.entries(fields)
    .map(([name, value]) => `${name.padEnd(width)}  ${value}`)
    .join('\n')
}
