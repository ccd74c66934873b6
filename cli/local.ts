/** `pg-iam local`: the gateway in the foreground, as a database for development. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { runStatements } from '../gateway/engines/run-statements.js'
import { type Gateway, startGateway, upstreamEngine } from '../gateway/index.js'
import { withoutUndefined } from '../core/options/check.js'
import { statementsOf } from '../core/sql.js'
import type { CommandContext } from './command-context.js'
import { childEnvironment, runChild } from './exec.js'
import { CommandError, ExitCode, usageError } from './failure.js'
import { callLocal, injectFault, parseFault, serveControl } from './local-faults.js'
import { type LocalFiles, localFiles, localFolder, writePrivate } from './local-files.js'
import { type Proxy, startProxy } from './proxy-server.js'
import { proxyOptionsOf, randomPassword, stopSignals } from './serve.js'
import type { Target } from './target.js'

/** The host names that it has without `--host`, one for each provider. */
const HOSTS = {
  'aurora-dsql': 'localdevlocaldevlocaldevlo.dsql.us-east-1.on.aws',
  rds: 'local.c1a2b3c4d5e6.us-east-1.rds.amazonaws.com',
} as const

type LocalProvider = keyof typeof HOSTS

export const LOCAL_PROVIDERS: readonly LocalProvider[] = ['aurora-dsql', 'rds']

interface LocalSettings {
  readonly provider: LocalProvider
  readonly host: string
  readonly port: number
  readonly user: string
  /** What only Aurora DSQL has. */
  readonly dsql: {
    readonly sql?: 'aurora-dsql' | 'postgres'
    readonly strict?: boolean
    readonly arn?: string
  }
  readonly files: LocalFiles
}

/** The identity of the access key, for `AWS IAM GRANT role TO 'arn'`. */
const LOCAL_ARN = 'arn:aws:iam::123456789012:role/local'

export async function runLocal(context: CommandContext): Promise<number> {
  const { flags, io, targets, printer } = context
  const [action, ...words] = targets
  const provider = (flags['provider'] as LocalProvider | undefined) ?? 'aurora-dsql'
  const host = (flags['host'] as string | undefined) ?? HOSTS[provider]
  const port = (flags['port'] as number | undefined) ?? 54_320
  if (action === 'faults' || action === 'stop') {
    if (action === 'stop' && words.length > 0)
      throw usageError(`"${words[0]}" is no argument of local stop`)
    const call = action === 'stop' ? ({ name: 'stop' } as const) : parseFault(words)
    const result = await callLocal(localFolder([host], io.env), port, call)
    if (result !== null) printer.result(JSON.stringify(result))
    return ExitCode.ok
  }
  if (action !== undefined)
    throw usageError(`"${action}" is no action of local`, 'Give faults, stop, or nothing to start.')
  // What is wrong is found before anything is started.
  const armed = ((flags['fault'] as readonly string[] | undefined) ?? []).map((fault) =>
    parseFault(fault.trim().split(/\s+/)),
  )
  const envFile = flags['write-env'] as string | undefined
  if (envFile !== undefined) refuseForeignFile(resolve(io.cwd, envFile))
  const statements = initialSql(context)
  const dsql = dsqlSettings(provider, flags)
  const files = await localFiles([host], io.env, Date.now)
  const user = (flags['user'] as string | undefined) ?? 'app'
  const settings = { provider, host, port, user, dsql, files }
  const command = flags['run'] as string | undefined
  // A command gets the signals itself.
  const signals = command === undefined ? stopSignals(io) : undefined
  const gateway = await startLocalGateway(settings, context)
  let control: { close(): Promise<void> } | undefined
  try {
    for (const call of armed) injectFault(gateway.faults, call)
    if (statements !== undefined) await runSql(gateway, settings, statements)
    let stop: ((exitCode: number) => void) | undefined
    const stopped = new Promise<number>((settle) => (stop = settle))
    control = await serveControl(files.folder, gateway.port, {
      faults: gateway.faults,
      stop() {
        if (command !== undefined) throw usageError('it ends with the command of its --run')
        stop!(ExitCode.ok)
      },
    })
    const env = exportedVariables(settings, gateway.port)
    if (envFile !== undefined) writeEnvironment(resolve(io.cwd, envFile), env)
    if (command !== undefined) return await runOnGateway(command, gateway, settings, context)
    announce(env, envFile, gateway, context)
    return await Promise.race([signals!.first, stopped])
  } finally {
    await control?.close()
    await gateway.close()
  }
}

function dsqlSettings(
  provider: LocalProvider,
  { sql, strict, arn }: CommandContext['flags'],
): LocalSettings['dsql'] {
  const given = { sql, strict, arn } as LocalSettings['dsql']
  if (provider === 'aurora-dsql') return { arn: LOCAL_ARN, ...withoutUndefined(given) }
  const [first] = Object.keys(withoutUndefined(given))
  if (first !== undefined) throw usageError(`"--${first}" is for the provider aurora-dsql only`)
  return {}
}

async function startLocalGateway(
  { provider, host, port, user, dsql: { arn, ...dsql }, files }: LocalSettings,
  { flags, io, printer }: CommandContext,
): Promise<Gateway> {
  const { accessKeyId, secretAccessKey, cert, key } = files
  const data = flags['data'] as string | undefined
  const engine = flags['engine'] as 'postgres' | 'pglite' | undefined
  const upstream = flags['upstream'] as string | undefined
  const roles = [...new Set(['admin', user])]
  try {
    return await startGateway({
      port,
      tls: { cert, key },
      endpoints: [
        {
          provider,
          hosts: [host],
          principals: [
            { accessKeyId, secretAccessKey, roles, ...(arn === undefined ? {} : { arn }) },
          ],
          ...dsql,
        },
      ],
      roles,
      ...(data === undefined ? {} : { dataDirectory: resolve(io.cwd, data) }),
      ...(engine === undefined ? {} : { engine }),
      ...(upstream === undefined ? {} : { upstream }),
      logger: printer.logger,
    })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code !== 'EADDRINUSE') throw cause
    throw new CommandError(`could not listen on 127.0.0.1, port ${port}`, {
      cause,
      hint: 'Another program uses it. Choose another one with --port, or 0 for any free port.',
    })
  }
}

// The environment of other processes.

function exportedVariables(
  { host, user, files }: LocalSettings,
  port: number,
): Readonly<Record<string, string>> {
  return {
    PGHOST: host,
    PGPORT: '',
    PGUSER: user,
    PGDATABASE: 'postgres',
    PGSSLROOTCERT: files.caFile,
    AWS_ACCESS_KEY_ID: files.accessKeyId,
    AWS_SECRET_ACCESS_KEY: files.secretAccessKey,
    // Those of the shell would not go with these keys.
    AWS_SESSION_TOKEN: '',
    AWS_PROFILE: '',
    PG_IAM_CONNECT_TO: `127.0.0.1:${port}`,
  }
}

const MARK = '# Written by pg-iam local. It is replaced at each start.'

/** A file of somebody else is never replaced. */
function refuseForeignFile(path: string): void {
  if (!existsSync(path)) return
  if (readFileSync(path, 'utf8').startsWith(MARK)) return
  throw usageError(
    `${path} was not written by pg-iam local, and is not replaced`,
    'Choose another file for --write-env.',
  )
}

/** For a shell, `node --env-file` and dotenv, which all read double quotes alike. */
function writeEnvironment(path: string, env: Readonly<Record<string, string>>): void {
  const lines = Object.entries(env).map(([name, value]) => `${name}="${value}"`)
  try {
    writePrivate(path, `${[MARK, ...lines].join('\n')}\n`)
  } catch (cause) {
    throw new CommandError(`could not write ${path}`, { cause })
  }
}

function announce(
  env: Readonly<Record<string, string>>,
  envFile: string | undefined,
  { port, engine }: Gateway,
  { printer, isJson }: CommandContext,
): void {
  if (isJson) {
    printer.result(JSON.stringify({ event: 'listening', port, engine, env }))
    return
  }
  if (envFile === undefined)
    for (const [name, value] of Object.entries(env)) printer.result(`export ${name}='${value}'`)
  else printer.result(`wrote ${envFile}`)
  printer.note(`listening on 127.0.0.1, port ${port}, with the engine ${engine}`)
}

// SQL at the start.

/** The statements of `--init`, unless the data are there already. */
function initialSql({ flags, io }: CommandContext): readonly string[] | undefined {
  const file = flags['init'] as string | undefined
  if (file === undefined) return undefined
  let text: string
  try {
    text = readFileSync(resolve(io.cwd, file), 'utf8')
  } catch (cause) {
    throw new CommandError('could not read the file of "--init"', {
      exitCode: ExitCode.usage,
      cause,
    })
  }
  const data = flags['data'] as string | undefined
  const folder = data === undefined ? undefined : resolve(io.cwd, data)
  const isNew = folder === undefined || !existsSync(folder) || readdirSync(folder).length === 0
  return isNew ? statementsOf(text).map((statement) => statement.text) : undefined
}

/** Runs each statement on its own, as Aurora DSQL needs it, as the administrator. */
async function runSql(
  gateway: Gateway,
  settings: LocalSettings,
  statements: readonly string[],
): Promise<void> {
  const engine = await upstreamEngine(loginTo(gateway, settings, 'admin').login)
  try {
    const session = await engine.openSession({
      role: 'admin',
      database: 'postgres',
      parameters: new Map(),
    })
    const failed = await runStatements(session, statements)
    if (failed === undefined) return
    const { index, error } = failed
    throw new CommandError(`statement ${index + 1} of "--init" failed: ${error.message}`, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    })
  } finally {
    await engine.close()
  }
}

// A command on the gateway.

function loginTo(gateway: Gateway, { files, user }: LocalSettings, role = user): Target {
  const ca = readFileSync(files.caFile, 'utf8')
  return {
    name: undefined,
    login: gateway.login({ user: role, tls: { ca } }),
    flags: {},
    origins: new Map(),
  }
}

/** Runs a line of the shell, with the environment that `exec` gives. */
async function runOnGateway(
  command: string,
  gateway: Gateway,
  settings: LocalSettings,
  context: CommandContext,
): Promise<number> {
  const { io, printer } = context
  const options = proxyOptionsOf(context)
  const target = loginTo(gateway, settings)
  const password = randomPassword()
  const proxy: Proxy = await startProxy({
    ...options,
    // "--strict" is that of the gateway.
    isStrict: false,
    targets: [target],
    isByDatabase: false,
    addresses: [{ host: '127.0.0.1', port: 0 }],
    password,
    logger: { ...options.logger, warn: options.logger.info },
  })
  try {
    const address = proxy.served[0]!.address as { host: string; port: number }
    const client = { ...address, user: settings.user, database: 'postgres', password }
    return await runChild({
      program: command,
      parameters: [],
      env: childEnvironment(io.env, client, []),
      killAfter: 10_000,
      isShell: true,
      io,
      printer,
    })
  } finally {
    await proxy.close(0)
  }
}
