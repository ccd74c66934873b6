/** The logger that a caller may hand to a login or to the gateway. */
import { invalidOption, type Check } from './options/check.js'

/** What pg-iam needs of a logger. `console`, pino (with arguments swapped by a wrapper) and winston fit. */
export interface Logger {
  debug(message: string, details?: object): void
  info(message: string, details?: object): void
  warn(message: string, details?: object): void
  error(message: string, details?: object): void
}

/** Checks that a given value can log. */
export const logger: Check<Logger> = (value, name) => {
  const methods = ['debug', 'info', 'warn', 'error'] as const
  const given = (value ?? {}) as Partial<Record<keyof Logger, unknown>>
  if (!methods.every((method) => typeof given[method] === 'function')) {
    throw invalidOption(name, 'an object with debug, info, warn and error functions', value)
  }
  return value as Logger
}

/** What is used where no logger is given. */
export const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} }
