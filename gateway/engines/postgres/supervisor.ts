/** The supervisor process. It starts PostgreSQL, and stops it and removes its files even if this process is killed. */
import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { ServerUser } from './postgres-programs.js'

export interface Supervisor {
  /** A directory that only the server's user and root can access. It is removed at the end. */
  readonly directory: string
  /**
   * Creates a data directory with the superuser `superuser` and the password in the file `password` in `directory`. Resolves with the exit
   * code of initdb, whose output is in `initdb.log`.
   */
  initdb(binDirectory: string, data: string, superuser: string): Promise<number>
  /** Starts the server with `postgresql.conf` in `directory`. Its log is `server.log`. It may end at any time. */
  start(binDirectory: string, data: string, shutdown: Shutdown): Promise<void>
  /** Sets the listener that is called each time a started server has ended. */
  onServerEnd(listener: () => void): void
  /** Sets the listener that is called if the supervisor ends before `close`. */
  onLost(listener: () => void): void
  /** Allows this process to exit while the supervisor runs. The server ends with this process. */
  unref(): void
  /** Stops the server and removes `directory`. Resolves when both are done. */
  close(): Promise<void>
}

/** The shutdown mode: `fast` writes a checkpoint, for data that is kept; `immediate` is faster. */
export type Shutdown = 'fast' | 'immediate'

export interface SupervisorOptions {
  readonly user: ServerUser | undefined
  /** A file descriptor that the server inherits as descriptor 3. */
  readonly inherited?: number | undefined
  /**
   * The program: `sh` takes 1 MB of memory and starts in 1 ms; `node` takes 40 MB and 40 ms, and does not need `/bin/sh`. Default `sh`, on
   * Windows `node`.
   */
  readonly kind?: 'sh' | 'node' | undefined
}

/**
 * Starts a supervisor. It reads commands from a pipe that only this process has open. When the pipe closes, because of `close`, exit or
 * SIGKILL, the supervisor finishes the running command, stops the server and removes the directory. It also creates the directory, so that
 * nothing can be left behind. It keeps this process's standard error open until it is done.
 */
export async function startSupervisor(options: SupervisorOptions): Promise<Supervisor> {
  const { user, inherited, kind = process.platform === 'win32' ? 'node' : 'sh' } = options
  const [program, parameters] =
    kind === 'sh'
      ? (['/bin/sh', ['-c', SH_SCRIPT, 'pg-iam-postgres']] as const)
      : ([process.execPath, ['--eval', NODE_SCRIPT, '--']] as const)
  const child = spawn(program, [...parameters, ...candidateDirectories()], {
    ...user,
    // The server's user may have no access to the current directory, which initdb needs to read.
    cwd: process.platform === 'win32' ? tmpdir() : '/',
    // Ctrl-C in a terminal signals the whole foreground process group, but the supervisor must outlive this process.
    detached: true,
    windowsHide: true,
    env: serverEnvironment(),
    stdio: ['pipe', 'pipe', 'inherit', ...(inherited === undefined ? [] : [inherited])],
  })
  const stdin = child.stdin!
  const ended = once(child, 'close')
  // Prevents an unhandled rejection. Errors are handled where `ended` is awaited.
  ended.catch(() => {})
  // Ignored, because a write to an ended supervisor shows as a missing response.
  stdin.on('error', () => {})
  const waiting: ((answer: string | undefined) => void)[] = []
  let notifyEnd: (() => void) | undefined
  let notifyLost: (() => void) | undefined
  let isClosing = false
  let isGone = false
  const lines = createInterface({ input: child.stdout! })
  lines.on('line', (line) => {
    if (line === 'ended') notifyEnd?.()
    else waiting.shift()?.(line)
  })
  lines.on('close', () => {
    isGone = true
    for (const take of waiting.splice(0)) take(undefined)
    if (!isClosing) notifyLost?.()
  })
  const answer = async (command: string): Promise<string> => {
    const line = isGone
      ? undefined
      : await new Promise<string | undefined>((take) => waiting.push(take))
    if (line === undefined) {
      await ended
      throw new Error(`the supervisor process of PostgreSQL ended during "${command}"`)
    }
    return line.slice(command.length + 1)
  }
  const tell = (...commands: [name: string, argument: string][]): void => {
    for (const [name, argument] of commands) {
      if (/[\r\n]/.test(argument)) throw new Error('a path for PostgreSQL contains a line break')
      stdin.write(`${name} ${argument}\n`)
    }
  }

  return {
    directory: await answer('directory'),
    async initdb(binDirectory, data, superuser) {
      tell(['programs', binDirectory], ['data', data], ['initdb', superuser])
      return Number(await answer('initdb'))
    },
    async start(binDirectory, data, shutdown) {
      tell(['programs', binDirectory], ['data', data], ['start', shutdown])
      await answer('start')
    },
    onServerEnd: (listener) => (notifyEnd = listener),
    onLost: (listener) => (notifyLost = listener),
    unref: () => {
      for (const handle of handles(child)) handle.unref()
    },
    close: async () => {
      isClosing = true
      for (const handle of handles(child)) handle.ref()
      stdin.end()
      await ended
    },
  }
}

// `read` fails when the pipe closes, which ends the loop. The empty traps keep the shell alive; unlike ignored signals, traps are not
// inherited by the server. The server remains a descendant and is waited for, so that no zombie remains in a container whose init process
// does not reap. The shell's message about a killed server is discarded. If the server does not end within ten seconds, the next stronger
// signal follows.
const SH_SCRIPT = `
trap : INT TERM HUP PIPE
for directory in "$@"; do
  mkdir -m 700 "$directory" 2>/dev/null && cd "$directory" && break
  directory=
done
[ -n "$directory" ] || { echo "$0: could not make a directory, tried $*" >&2; exit 1; }
echo "directory $directory" 2>/dev/null

end() {
  [ -e ended ] || kill "-$1" "$(cat server.pid)" 2>/dev/null
  tries=0
  until [ -e ended ] || [ "$tries" -ge 500 ]; do sleep 0.02; tries=$((tries + 1)); done
}

while IFS= read -r line; do
  argument=\${line#* }
  case \${line%% *} in
    programs) bin=$argument ;;
    data) data=$argument ;;
    initdb)
      "$bin/initdb" -D "$data" -U "$argument" --pwfile=password --auth-local=trust --auth-host=scram-sha-256 \\
        --encoding=UTF8 --no-locale --no-sync >initdb.log 2>&1 </dev/null
      echo "initdb $?" 2>/dev/null ;;
    start)
      shutdown=$argument
      rm -f started ended
      {
        "$bin/postgres" -D "$data" -c "config_file=$directory/postgresql.conf" >server.log 2>&1 </dev/null &
        echo $! >server.pid
        : >started
        wait $!
        : >ended
        echo ended
      } 2>/dev/null &
      until [ -e started ]; do sleep 0.01; done
      echo "start 0" 2>/dev/null ;;
  esac
done
if [ -e started ]; then
  [ "$shutdown" = immediate ] || end INT
  end QUIT
  end KILL
fi
until wait; do :; done
cd / && rm -rf "$directory"
`

/* istanbul ignore next: it runs in another process, without coverage counters. */
/**
 * The same as a Node program. Its source is passed on the command line, because a bundle would not contain a separate file. So it must not
 * refer to anything outside this function.
 */
function supervise(): void {
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  const fs = process.getBuiltinModule('node:fs')
  const { join: path } = process.getBuiltinModule('node:path')
  const { createInterface: readLines } = process.getBuiltinModule('node:readline')
  const say = (line: string): void => {
    try {
      fs.writeSync(1, `${line}\n`)
    } catch {
      // The reading process has ended. The end of the command pipe follows.
    }
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGBREAK'] as const) {
    try {
      process.on(signal, () => {})
    } catch {
      // Some systems lack some of these signals.
    }
  }
  const directory = process.argv.slice(1).find((candidate) => {
    try {
      fs.mkdirSync(candidate, { mode: 0o700 })
      return true
    } catch {
      return false
    }
  })
  if (directory === undefined) {
    process.stderr.write(
      `pg-iam-postgres: could not make a directory, tried ${process.argv.slice(1).join(' ')}\n`,
    )
    process.exit(1)
  }
  say(`directory ${directory}`)
  const suffix = process.platform === 'win32' ? '.exe' : ''
  let bin = ''
  let data = ''
  let shutdown = ''
  let pid = 0
  let watch: NodeJS.Timeout | undefined
  const runProgram = (name: string, parameters: string[], log?: string): number => {
    // The server inherits the output of pg_ctl. A pipe would stay open as long as the server runs.
    const output = log === undefined ? 'ignore' : fs.openSync(path(directory, log), 'w')
    const { status } = spawnSync(path(bin, name + suffix), parameters, {
      cwd: directory,
      stdio: ['ignore', output, output],
      windowsHide: true,
    })
    if (output !== 'ignore') fs.closeSync(output)
    return status ?? -1
  }
  const isRunning = (): boolean => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  }
  const start = (): void => {
    clearInterval(watch)
    pid = 0
    const log = path(directory, 'server.log')
    fs.rmSync(log, { force: true })
    const file = path(directory, 'postgresql.conf').replaceAll('\\', '/')
    // pg_ctl drops administrator rights, with which PostgreSQL does not run on Windows.
    const parameters = [
      'start',
      '-D',
      data,
      '-l',
      log,
      '-s',
      '-w',
      '-t',
      '60',
      '-o',
      `-c "config_file=${file}"`,
    ]
    const status = runProgram('pg_ctl', parameters, 'pg_ctl.log')
    const first = status === 0 ? fs.readFileSync(path(data, 'postmaster.pid'), 'utf8') : '0'
    pid = Number.parseInt(first, 10)
    say('start 0')
    if (pid === 0) say('ended')
    else
      watch = setInterval(() => {
        if (isRunning()) return
        clearInterval(watch)
        pid = 0
        say('ended')
      }, 200)
  }
  readLines({ input: process.stdin })
    .on('line', (line) => {
      const blank = line.indexOf(' ')
      const argument = line.slice(blank + 1)
      switch (line.slice(0, blank)) {
        case 'programs':
          bin = argument
          break
        case 'data':
          data = argument
          break
        case 'initdb': {
          const rules = [
            '--auth-local=trust',
            '--auth-host=scram-sha-256',
            '--encoding=UTF8',
            '--no-locale',
            '--no-sync',
          ]
          const parameters = ['-D', data, '-U', argument, '--pwfile=password', ...rules]
          say(`initdb ${runProgram('initdb', parameters, 'initdb.log')}`)
          break
        }
        case 'start':
          shutdown = argument
          start()
          break
      }
    })
    .on('close', () => {
      clearInterval(watch)
      if (pid !== 0 && isRunning()) {
        const stop = (mode: string): boolean =>
          runProgram('pg_ctl', ['stop', '-D', data, '-m', mode, '-s', '-w', '-t', '10']) === 0
        if (!((shutdown === 'fast' && stop('fast')) || stop('immediate')) && isRunning())
          process.kill(pid, 'SIGKILL')
      }
      fs.rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    })
}

// esbuild (0.28, with keepNames) inserts calls of `__name` into functions.
const NODE_SCRIPT = `globalThis.__name ??= (named) => named;(${supervise.toString()})()`

/** The server's user may have no access to root's temporary directory. The path of a Unix socket is limited to 103 bytes. */
function candidateDirectories(): string[] {
  const name = `pg-iam-${randomBytes(6).toString('hex')}`
  const folders = process.platform === 'win32' ? [tmpdir()] : [tmpdir(), '/tmp']
  return [...new Set(folders)]
    .map((folder) => join(folder, name))
    .filter((directory) => process.platform === 'win32' || Buffer.byteLength(directory) <= 80)
}

/** Removes PGDATA, PGPORT, PGOPTIONS and similar variables, and NODE_OPTIONS. Sets LC_ALL, so that messages can be matched. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:PG|LC_|LANG|NODE_OPTIONS$)/.test(name),
  )
  return { ...Object.fromEntries(kept), LC_ALL: 'C', ELECTRON_RUN_AS_NODE: '1' }
}

/** The stdio pipes are sockets, although their types do not declare it. */
function handles(child: ChildProcess): (ChildProcess | Socket)[] {
  return [child, ...child.stdio.filter((stream) => stream instanceof Socket)]
}
