/** The logger that a caller may hand to a login or to the gateway. */
import { isPlainObject, invalidOption, type Check } from './options/check.js'

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
  if (!isPlainObject(value) || !methods.every((method) => typeof value[method] === 'function')) {
    throw invalidOption(name, 'an object with debug, info, warn and error functions', value)
  }
  return value as unknown as Logger
}
