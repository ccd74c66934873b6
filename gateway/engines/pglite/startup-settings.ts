/** Reads the settings that a client asks for in its startup packet. */
import { ServerError } from '../../wire/server-error.js'

export type StartupSetting = readonly [name: string, value: string]

/**
 * Returns them in the order in which PostgreSQL applies them: first those of `options`, a command line, then the others.
 *
 * Throws a FATAL `ServerError` for a command line that PostgreSQL would not take, and for replication.
 */
export function startupSettings(parameters: ReadonlyMap<string, string>): StartupSetting[] {
  if (!NO_REPLICATION.has(parameters.get('replication') ?? '')) {
    throw new ServerError('0A000', 'replication is not supported by the PGlite engine', {
      severity: 'FATAL',
    })
  }
  const named = [...parameters].filter(
    ([name]) => !NO_SETTINGS.has(name) && !isProtocolOption(name),
  )
  return [...commandLine(parameters.get('options') ?? ''), ...named]
}

const NO_SETTINGS: ReadonlySet<string> = new Set(['user', 'database', 'options', 'replication'])
const NO_REPLICATION: ReadonlySet<string> = new Set(['', 'false', 'off', 'no', '0'])

function isProtocolOption(name: string): boolean {
  return name.startsWith('_pq_.')
}

function commandLine(options: string): StartupSetting[] {
  const words = splitWords(options)
  const settings: StartupSetting[] = []
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!
    const assignment = word === '-c' ? words[++index] : /^(?:-c|--)(.+)$/s.exec(word)?.[1]
    const equals = assignment?.indexOf('=') ?? -1
    if (assignment === undefined || equals < 1) throw invalidArgument(word)
    // A command line may write a name with dashes.
    const name = assignment.slice(0, equals).replaceAll('-', '_')
    settings.push([name, assignment.slice(equals + 1)])
  }
  return settings
}

/** At white space, which a backslash makes part of a word. */
function splitWords(text: string): string[] {
  const words = text.match(/(?:\\.|[^\\\s])+/gsu) ?? []
  return words.map((word) => word.replace(/\\(.)/gsu, '$1'))
}

function invalidArgument(word: string): ServerError {
  return new ServerError('42601', `invalid command-line argument for server process: ${word}`, {
    severity: 'FATAL',
    hint: 'Write settings as "-c name=value".',
  })
}
