/** `pg-iam proxy`: serves plain connections until it is stopped. */
import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { isIP } from 'node:net'
import { CommandError, ExitCode, usageError } from './failure.js'
import type { CommandContext } from './command-context.js'
import {
  type ListenAddress,
  type Proxy,
  type ProxyObserver,
  type ServedTarget,
  startProxy,
} from './proxy-server.js'
import {
  clientUrl,
  drainMsOf,
  proxyOptionsOf,
  randomPassword,
  stopSignals,
  type StopSignals,
} from './serve.js'
import { type Flags, resolveTargets } from './target.js'

export async function runProxy(context: CommandContext): Promise<number> {
  const { flags, io, printer, loginLogger, isJson, configuration, targetFlags, targets } = context
  const resolved = resolveTargets(targets, {
    flags: targetFlags,
    configuration,
    env: io.env,
    logger: loginLogger,
  })
  const isByDatabase = flags['by-database'] === true
  if (isByDatabase && resolved.some(({ name }) => name === undefined))
    throw usageError(
      'with "--by-database" each target needs a name',
      'Give it as NAME=postgres://..., or in pg-iam.json.',
    )
  const addresses = addressesOf(flags, io.cwd)
  const tls = tlsOf(flags, io.cwd)
  const given = givenPassword(flags, io.cwd)
  refuseExposure(addresses, flags, tls !== undefined)
  const isOnTcp = addresses.some((each) => 'host' in each)
  const needsPassword = isOnTcp && flags['no-password'] !== true
  if (isJson && needsPassword && given === undefined)
    throw usageError(
      'with "--json" the password must be given',
      'A log is no place for one that is made up. Give --password-file, or --no-password.',
    )
  const password = needsPassword ? (given ?? randomPassword()) : undefined
  const http = flags['http'] as { host: string; port: number } | undefined
  const monitor =
    http === undefined ? undefined : await (await import('./monitor.js')).createMonitor(resolved)
  const observer: ProxyObserver | undefined = monitor?.observer
  const signals = stopSignals(io)
  const proxy = await startProxy({
    ...proxyOptionsOf(context),
    targets: resolved,
    isByDatabase,
    addresses,
    password,
    ...(tls === undefined ? {} : { tls }),
    ...(observer === undefined ? {} : { observer }),
  })
  const begin = async (): Promise<undefined> => {
    if (flags['check'] === true) await proxy.check()
    // Some tokens name the user.
    for (const { login } of resolved)
      if (login.user === undefined) await login.token().catch(() => undefined)
    const monitored = await monitor?.listen(http!.host, http!.port, proxy)
    for (const each of proxy.served) announce(each, context, { isEncrypted: tls !== undefined })
    if (password !== undefined && given === undefined) printer.result(`password: ${password}`)
    if (monitored !== undefined) printer.note(`metrics and health: ${monitored}`)
  }
  try {
    const stopped = await Promise.race([begin(), signals.first])
    if (stopped === undefined) return await untilStopped(proxy, signals, context)
    await proxy.close(0)
    return stopped
  } catch (error) {
    await proxy.close(0)
    throw error
  } finally {
    await monitor?.close()
  }
}

/** Resolves with the exit code when the proxy has closed. */
async function untilStopped(
  proxy: Proxy,
  { first, second }: StopSignals,
  context: CommandContext,
): Promise<number> {
  const exitCode = await first
  const open = proxy.openConnections
  if (open > 0) {
    const connections = open === 1 ? 'connection' : 'connections'
    context.printer.note(`stopping, after ${open} open ${connections}; again to stop at once`)
  }
  void second.then(() => proxy.abort())
  await proxy.close(drainMsOf(context))
  return exitCode
}

/** Prints where a target is reached. The password is printed apart from it, once. */
function announce(
  { target, address }: ServedTarget,
  { printer, isJson, flags }: CommandContext,
  { isEncrypted }: { isEncrypted: boolean },
): void {
  const { login, name } = target
  const isFolder = 'folder' in address
  const url = clientUrl({
    host: isFolder ? address.folder : address.host,
    port: address.port,
    user: login.user ?? 'USER',
    database: flags['by-database'] === true ? name! : login.database,
    isEncrypted: isEncrypted && !isFolder,
  })
  const { host, provider } = login
  printer.result(
    isJson
      ? JSON.stringify({
          event: 'listening',
          target: name ?? null,
          host,
          provider,
          ...address,
          url,
        })
      : `${name ?? host}: ${url}`,
  )
}

function addressesOf(flags: Flags, cwd: string): ListenAddress[] {
  const port = flags['port'] as number | undefined
  const folder = flags['socket-dir'] as string | undefined
  const host = (flags['listen'] as string | undefined) ?? '127.0.0.1'
  const addresses: ListenAddress[] = []
  if (folder !== undefined)
    // A socket needs a number in its name.
    addresses.push({ folder: resolve(cwd, folder), port: port || 6432 })
  if (folder === undefined || port !== undefined || flags['listen'] !== undefined)
    addresses.push({ host, port: port ?? 6432 })
  return addresses
}

/** Anyone who reaches the proxy is its identity, so others than this machine must prove themselves, and be encrypted. */
function refuseExposure(addresses: readonly ListenAddress[], flags: Flags, hasTls: boolean): void {
  const exposed = addresses.find((each) => 'host' in each && !isLoopback(each.host)) as
    { host: string } | undefined
  if (exposed === undefined) return
  if (!hasTls || flags['no-password'] === true)
    throw usageError(
      `"--listen ${exposed.host}" needs a password and TLS: others than this machine can reach it`,
      'Give --tls-cert, --tls-key and --password-file, or listen on 127.0.0.1.',
    )
}

function isLoopback(host: string): boolean {
  if (isIP(host) === 0) return host === 'localhost'
  return host === '::1' || host.startsWith('127.')
}

function givenPassword(flags: Flags, cwd: string): string | undefined {
  const given = flags['password-file'] as string | undefined
  if (given === undefined) return undefined
  if (flags['no-password'] === true)
    throw usageError('"--password-file" and "--no-password" must not be given together')
  const path = resolve(cwd, given)
  const password = readText(path, '--password-file').replace(/\r?\n$/, '')
  if (!/^[^\0\r\n]{1,1000}$/.test(password))
    throw usageError(`${path} must contain one line, the password`)
  if (process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0)
    throw usageError(`others can read ${path}`, `Run: chmod 600 ${path}`)
  return password
}

function tlsOf(flags: Flags, cwd: string): { cert: string; key: string } | undefined {
  const [cert, key] = ['tls-cert', 'tls-key'].map((name) => flags[name] as string | undefined)
  if (cert === undefined && key === undefined) return undefined
  if (cert === undefined || key === undefined)
    throw usageError('"--tls-cert" and "--tls-key" must be given together')
  return {
    cert: readText(resolve(cwd, cert), '--tls-cert'),
    key: readText(resolve(cwd, key), '--tls-key'),
  }
}

function readText(path: string, flag: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new CommandError(`could not read the file of "${flag}"`, {
      exitCode: ExitCode.usage,
      cause,
    })
  }
}
