/** What the frame hands to a command. */
import type { Logger } from '../core/events.js'
import type { Io, Printer } from './output.js'
import type { Configuration, Flags } from './target.js'

export interface CommandContext {
  readonly io: Io
  /** The target, or the targets, of the command line. */
  readonly targets: readonly string[]
  /** Those of the command line. */
  readonly targetFlags: Flags
  /** Those of the command, also from the configuration file. */
  readonly flags: Flags
  readonly configuration: Configuration
  readonly printer: Printer
  /** For the events of logins, which the command's own messages repeat. */
  readonly loginLogger: Logger | undefined
  readonly isJson: boolean
  /** What follows `--`. */
  readonly words: readonly string[]
}
