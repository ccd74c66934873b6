/** `pg-iam exec`: runs a command that connects to the database through a separate proxy. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { delimiter, join } from 'node:path'
import { CommandError, ExitCode, usageError } from './failure.js'
import type { Io, Printer } from './output.js'
import type { CommandContext } from './command-context.js'
import { startProxy } from './proxy-server.js'
import { type ClientUrl, clientUrl, proxyOptionsOf, randomPassword } from './serve.js'
import { resolveTarget } from './target.js'

export async function runExec(context: CommandContext): Promise<number> {
  const { flags, io, printer, loginLogger, configuration, targetFlags, targets, words } = context
  const [program, ...parameters] = words
  if (program === undefined)
    throw usageError('a command must be given after --', 'pg-iam exec [target] -- COMMAND')
  const target = resolveTarget(targets[0], {
    flags: targetFlags,
    configuration,
    env: io.env,
    logger: loginLogger,
  })
  const password = randomPassword()
  const options = proxyOptionsOf(context)
  const proxy = await startProxy({
    ...options,
    // The command has its own output, and is warned of settings that are left out.
    logger: { ...options.logger, warn: options.logger.info },
    targets: [target],
    isByDatabase: false,
    addresses: [{ host: '127.0.0.1', port: 0 }],
    password,
  })
  try {
    if (flags['check'] === true) await proxy.check()
    const address = proxy.served[0]!.address as { host: string; port: number }
    const { login } = target
    // Without one, the command would fail later, and with a stranger error. Some tokens also name the user.
    const token = await login.token()
    const user = token.user ?? login.user ?? 'token'
    const env = childEnvironment(
      io.env,
      { ...address, user, database: login.database, password },
      (flags['env'] as readonly string[] | undefined) ?? [],
    )
    const killAfter = ((flags['kill-after'] as number | undefined) ?? 10) * 1_000
    const ended = await runChild({ program, parameters, env, killAfter, io, printer })
    // What the command has left behind loses its connection.
    await proxy.close(0)
    return ended
  } catch (error) {
    await proxy.close(0)
    throw error
  }
}

/** The variables of libpq that would lead a child past the proxy, or ask for what it does not have. */
const OTHER_VARIABLES = [
  'PGHOSTADDR',
  'PGSERVICE',
  'PGPASSFILE',
  'PGSSLROOTCERT',
  'PGSSLCERT',
  'PGSSLKEY',
  'PGSSLNEGOTIATION',
  'PGCHANNELBINDING',
  'PGREQUIREAUTH',
  'PGREQUIRESSL',
  'PGTARGETSESSIONATTRS',
  'PGREQUIREPEER',
  'PG_IAM_CONNECT_TO',
]

/** The environment of a child that connects by libpq's variables or by a URL. */
export function childEnvironment(
  env: Io['env'],
  client: ClientUrl & { password: string },
  names: readonly string[],
): NodeJS.ProcessEnv {
  const url = clientUrl(client)
  const { host, port, user, database, password } = client
  const kept = Object.entries(env).filter(([name]) => !OTHER_VARIABLES.includes(name))
  return {
    ...Object.fromEntries(kept),
    PGHOST: host,
    PGPORT: String(port),
    PGUSER: user,
    PGPASSWORD: password,
    PGDATABASE: database,
    PGSSLMODE: 'disable',
    DATABASE_URL: url,
    ...Object.fromEntries(names.map((name) => [name, url])),
  }
}

interface ChildSettings {
  readonly program: string
  readonly parameters: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** How long it may take to end after a signal, in milliseconds. */
  readonly killAfter: number
  /** Whether `program` is a line for the shell. */
  readonly isShell?: boolean
  readonly io: Io
  readonly printer: Printer
}

/** Runs the command, and passes signals on to it. Resolves with its exit code, as a shell would give it. */
export async function runChild({
  program,
  parameters,
  env,
  killAfter,
  isShell = false,
  io,
  printer,
}: ChildSettings): Promise<number> {
  const child = spawn(program, parameters, {
    stdio: 'inherit',
    env,
    cwd: io.cwd,
    shell: isShell,
  })
  const offs = SIGNALS.map((name) => io.onSignal(name, () => pass(name)))
  let timer: NodeJS.Timeout | undefined
  function pass(name: NodeJS.Signals): void {
    // A terminal sends these to the child as well.
    const isSentToBoth = name === 'SIGINT' || name === 'SIGQUIT'
    if (!(isSentToBoth && io.stdin.isTTY === true)) child.kill(name)
    if (name !== 'SIGTERM' && name !== 'SIGHUP') return
    timer ??= setTimeout(() => {
      printer.warn(`the command did not end within ${killAfter / 1_000} s of ${name}: it is killed`)
      child.kill('SIGKILL')
    }, killAfter)
  }
  try {
    return await exitCodeOf(child, program, env['PATH'])
  } finally {
    clearTimeout(timer)
    for (const off of offs) off()
  }
}

const SIGNALS: readonly NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
]

/** If a folder of `PATH` cannot be entered, the system reports that in place of a command that is in none of them. */
function isThere(program: string, path = ''): boolean {
  if (program.includes('/')) return true
  return path.split(delimiter).some((folder) => existsSync(join(folder, program)))
}

function exitCodeOf(
  child: ChildProcess,
  program: string,
  path: string | undefined,
): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const isMissing =
        cause.code === 'ENOENT' || (cause.code === 'EACCES' && !isThere(program, path))
      reject(
        new CommandError(
          isMissing ? `command not found: ${program}` : `could not start ${program}: ${cause.code}`,
          { exitCode: isMissing ? ExitCode.notFound : ExitCode.cannotExecute },
        ),
      )
    })
    child.once('exit', (code, signal) => {
      resolve(code ?? 128 + (constants.signals[signal!] ?? 0))
    })
  })
}
