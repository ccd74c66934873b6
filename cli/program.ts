/** The commands and their flags. The code of each is loaded when it runs. */
import { Command, CommanderError, Option } from 'commander'
import { VERSION } from '../core/version.js'
import {
  EXEC_FLAGS,
  FAULT_NAMES,
  LISTEN_FLAGS,
  LOCAL_FLAGS,
  LOGIN_FLAGS,
  MIGRATE_FLAGS,
  PROXY_FLAGS,
  TOKEN_FLAGS,
} from './command-flags.js'
import { describeFailure, ExitCode, usageError } from './failure.js'
import type { CommandContext } from './command-context.js'
import { createPrinter, type Io, type Verbosity } from './output.js'
import {
  type Flag,
  type Flags,
  flagsOf,
  optionOf,
  readConfiguration,
  TARGET_FLAGS,
} from './target.js'

/** Resolves with the exit code. */
type Run = (context: CommandContext) => Promise<number>

/** Runs the command. Never rejects: resolves with the exit code. */
export async function runCommand(io: Io): Promise<number> {
  // What follows `--` belongs to the other program, also if it looks like a flag of this one.
  const separator = io.args.indexOf('--')
  const own = separator === -1 ? io.args : io.args.slice(0, separator)
  const words = separator === -1 ? [] : io.args.slice(separator + 1)
  const isJson = own.includes('--json')
  let exitCode: number = ExitCode.ok
  const program = programOf(io, words, (code) => (exitCode = code))
  try {
    if (separator !== -1 && !own.includes('exec'))
      throw usageError('only exec has a command after --', 'See pg-iam --help.')
    await program.parseAsync([...own], { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return endOfHelp(error, io, isJson)
    const failure = describeFailure(error, io.args)
    createPrinter(io, { isJson }).fail(failure)
    return failure.exitCode
  }
}

/** commander ends with an error after help and version, too. */
function endOfHelp(error: CommanderError, io: Io, isJson: boolean): number {
  if (error.exitCode === 0) return ExitCode.ok
  const [first = '', ...others] = error.message.replace(/^error: /, '').split('\n')
  const hint = others.length === 0 ? 'See pg-iam --help.' : others.join(' ').replace(/[()]/g, '')
  createPrinter(io, { isJson }).fail({
    exitCode: ExitCode.usage,
    code: undefined,
    message: error.code === 'commander.help' ? 'a command must be given' : first,
    hint,
  })
  return ExitCode.usage
}

function programOf(io: Io, words: readonly string[], ended: (exitCode: number) => void): Command {
  const program = new Command('pg-iam')
    .description('Log in to PostgreSQL with IAM tokens, from any tool.')
    .version(VERSION, '-v, --version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help for a command')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: () => {},
      outputError: () => {},
    })
    .addHelpText('after', HELP)
  const add = (
    usage: string,
    description: string,
    flags: readonly Flag[],
    load: () => Promise<Run>,
    examples: string,
    targetFlags = TARGET_FLAGS,
  ): void => {
    const command = program
      .command(usage)
      .description(description)
      .helpOption('-h, --help', 'show help')
      .addHelpText('after', `\nExamples:\n${examples}`)
      .exitOverride()
    const name = command.name()
    for (const flag of flags) command.addOption(optionOf(flag))
    for (const flag of targetFlags) command.addOption(optionOf(flag).helpGroup('Which database:'))
    command
      .addOption(
        new Option('--config <FILE>', 'configuration file; default pg-iam.json').helpGroup(GENERAL),
      )
      .addOption(new Option('--json', 'print JSON').helpGroup(GENERAL))
      .addOption(
        new Option('--verbose', 'print what happens').conflicts('quiet').helpGroup(GENERAL),
      )
      .addOption(new Option('--quiet', 'print errors only').helpGroup(GENERAL))
    // What follows the arguments is the same, whether there are any or not: the options, and the command.
    command.action(async (...received: unknown[]) => {
      const given = received.slice(0, -2)[0] as string | string[] | undefined
      const options = received.at(-2)
      const all = flagsOf(options as Record<string, unknown>)
      const isJson = all['json'] === true
      const verbosity: Verbosity =
        all['quiet'] === true ? 'quiet' : all['verbose'] === true ? 'verbose' : 'normal'
      const configuration = readConfiguration({
        file: all['config'] as string | undefined,
        cwd: io.cwd,
        command: name,
        flags,
      })
      const run = await load()
      const printer = createPrinter(io, { isJson, verbosity })
      ended(
        await run({
          io,
          targets: typeof given === 'string' ? [given] : (given ?? []),
          targetFlags: only(all, targetFlags),
          flags: { ...configuration.command, ...only(all, flags) },
          configuration,
          printer,
          loginLogger: verbosity === 'verbose' ? printer.logger : undefined,
          isJson,
          words,
        }),
      )
    })
  }
  add(
    'token [target]',
    'Print one token, to use as a password.',
    TOKEN_FLAGS,
    async () => (await import('./token.js')).runToken,
    '  pg-iam token postgres://app@HOST/postgres\n  PGPASSWORD=$(pg-iam token --host HOST --user app) psql -h HOST -U app postgres',
  )
  add(
    'proxy [targets...]',
    'Accept plain connections on this machine, and log in to the database with tokens.',
    [...PROXY_FLAGS, ...LISTEN_FLAGS],
    async () => (await import('./proxy.js')).runProxy,
    '  pg-iam proxy postgres://app@HOST/postgres\n  pg-iam proxy orders=postgres://app@HOST1/postgres reports=postgres://app@HOST2/postgres --socket-dir ./sockets',
  )
  add(
    'exec [target]',
    'Run a command that connects through a proxy: exec [target] -- COMMAND.',
    [...EXEC_FLAGS, ...LISTEN_FLAGS],
    async () => (await import('./exec.js')).runExec,
    '  pg-iam exec postgres://app@HOST/postgres -- psql\n  pg-iam exec orders -- npx drizzle-kit migrate',
  )
  add(
    'doctor [target]',
    'Walk one login, and say what is wrong with it.',
    [],
    async () => (await import('./doctor.js')).runDoctor,
    '  pg-iam doctor postgres://app@HOST/postgres\n  pg-iam doctor orders --json',
  )
  add(
    'login',
    'Sign in with the identity of your company, for the other commands to log in as you.',
    LOGIN_FLAGS,
    async () => (await import('./sign-in.js')).runLogin,
    '  pg-iam login --issuer https://login.example.com --client-id ID --role arn:aws:iam::111122223333:role/me\n  pg-iam login --device',
    [],
  )
  add(
    'logout',
    'Sign out: delete the tokens, and revoke them.',
    [],
    async () => (await import('./sign-in.js')).runLogout,
    '  pg-iam logout',
    [],
  )
  add(
    'whoami',
    'Print who is signed in.',
    [],
    async () => (await import('./sign-in.js')).runWhoami,
    '  pg-iam whoami\n  pg-iam whoami --json',
    [],
  )
  add(
    'local [action...]',
    'Run a database for development that authenticates as the cloud does. faults NAME [KEY=VALUE...]: inject faults into it. stop: end it.',
    LOCAL_FLAGS,
    async () => (await import('./local.js')).runLocal,
    `  pg-iam local --write-env .env.local\n  pg-iam local --run "npm test"\n  pg-iam local faults raise-conflicts times=2\n  pg-iam local stop\n\nFaults: ${FAULT_NAMES.join(', ')}.`,
    [],
  )
  add(
    'migrate [action...]',
    'Run a folder of SQL migrations, on Aurora DSQL and PostgreSQL: status, up, down, lint, resolve NAME. A target may follow.',
    MIGRATE_FLAGS,
    async () => (await import('./migrate.js')).runMigrate,
    '  pg-iam migrate up postgres://admin@HOST/postgres --dir migrations\n  pg-iam migrate up --dry-run\n  pg-iam migrate lint',
  )
  add(
    'register-path',
    'Print the address of pg-iam/register, for NODE_OPTIONS.',
    [],
    async () => runRegisterPath,
    '  NODE_OPTIONS="--import $(pg-iam register-path)" npm start',
    [],
  )
  return program
}

const GENERAL = 'General:'

const HELP = `
A target is a URL such as postgres://app@HOST/postgres, or the name of one in pg-iam.json.
Without it, flags and PGHOST, PGUSER, PGPORT and PGDATABASE describe the database.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 no credentials or token; 4 server not reached
or not trusted; 5 login refused; 130 after Ctrl-C. exec ends with the code of its command.

https://github.com/pg-iam/pg-iam/blob/main/docs/cli.md`

function only(all: Flags, flags: readonly Flag[]): Flags {
  return Object.fromEntries(
    flags.flatMap(({ name }) => (all[name] === undefined ? [] : [[name, all[name]]])),
  )
}

// `pg-iam register-path`: `pg-iam/register` as an address that Node finds from any folder.

/** An address, not a path: it has no spaces, so that it is one word in `NODE_OPTIONS`. */
async function runRegisterPath({ printer, isJson }: CommandContext): Promise<number> {
  const url = new URL('../register/index.js', import.meta.url).href
  printer.result(isJson ? JSON.stringify({ url }) : url)
  return 0
}
