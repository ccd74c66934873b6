/** The process that starts PostgreSQL, and that ends it and removes its files however this process ends. */
import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { ServerUser } from './postgres-programs.js'

export interface Supervisor {
  /** A directory that only the server's user (and root) can enter. It is removed at the end. */
  readonly directory: string
  /**
   * Makes a data directory, whose superuser is `superuser`, with the password in the file `password` in `directory`. Resolves with the
   * exit code of initdb, which writes into `initdb.log`.
   */
  initdb(binDirectory: string, data: string, superuser: string): Promise<number>
  /** Starts the server with `postgresql.conf` in `directory`. It writes into `server.log`, and may end at any moment. */
  start(binDirectory: string, data: string, shutdown: Shutdown): Promise<void>
  /** What is called each time that a server that was started has ended. */
  onServerEnd(listener: () => void): void
  /** What is called where the supervisor itself ends and nobody has asked for it. */
  onLost(listener: () => void): void
  /** Lets this process exit while the supervisor is there; the server ends with it. */
  unref(): void
  /** Ends the server, removes `directory`, and waits for both. */
  close(): Promise<void>
}

/** How the server ends: `fast` writes a checkpoint, so that the data can be kept; `immediate` takes no time. */
export type Shutdown = 'fast' | 'immediate'

export interface SupervisorOptions {
  readonly user: ServerUser | undefined
  /** A file descriptor that the server needs to inherit. It is descriptor 3 there. */
  readonly inherited?: number | undefined
  /**
   * The program: `sh` takes a megabyte of memory and starts in a millisecond; `node` takes 40 of both, and runs where there is no
   * `/bin/sh`. Default `sh`, and `node` on Windows.
   */
  readonly kind?: 'sh' | 'node' | undefined
}

/**
 * Starts a supervisor. It reads commands from a pipe that only this process holds: when the pipe closes, be it by `close`, exit or
 * SIGKILL, it finishes the command that runs, shuts the server down and removes the directory. As it also makes the directory, there is no
 * moment at which something could be left behind. It holds our standard error until it is done.
 */
export async function startSupervisor(options: SupervisorOptions): Promise<Supervisor> {
  const { user, inherited, kind = process.platform === 'win32' ? 'node' : 'sh' } = options
  const [program, parameters] =
    kind === 'sh'
      ? (['/bin/sh', ['-c', SH_SCRIPT, 'pg-iam-postgres']] as const)
      : ([process.execPath, ['--eval', NODE_SCRIPT, '--']] as const)
  const child = spawn(program, [...parameters, ...candidateDirectories()], {
    ...user,
    // The current directory may be closed to the server's user, and initdb insists on reading it.
    cwd: process.platform === 'win32' ? tmpdir() : '/',
    // A Ctrl-C in the terminal goes to the whole foreground group; the supervisor must outlive us.
    detached: true,
    windowsHide: true,
    env: serverEnvironment(),
    stdio: ['pipe', 'pipe', 'inherit', ...(inherited === undefined ? [] : [inherited])],
  })
  const stdin = child.stdin!
  const ended = once(child, 'close')
  // Looked at where it is waited for; until then it must not count as unhandled.
  ended.catch(() => {})
  // It may be gone when we write to it; what counts is the answer that then does not come.
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
      throw new Error(`the supervisor of PostgreSQL ended during "${command}"`)
    }
    return line.slice(command.length + 1)
  }
  const tell = (...commands: [name: string, argument: string][]): void => {
    for (const [name, argument] of commands) {
      if (/[\r\n]/.test(argument)) throw new Error('a path for PostgreSQL has a line break')
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

// `read` fails at the end of the pipe, which is our end. The traps do nothing but keep the shell alive; a trap, unlike an
// ignored signal, is not inherited by the server. The server stays a descendant, so that it is waited for and no zombie
// stays behind in a container whose first process does not reap. What it says of a server that was killed is for nobody. A server that does not end in ten seconds is ended the harder way.
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

/* istanbul ignore next: it runs in another process, without the counters of this one. */
/**
 * The same as a program for Node. It is written into the command line, because a bundle of the caller's has no file of ours, so it must use
 * nothing from outside of itself.
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
      // Whoever would read it is gone, and then the end of the commands comes next.
    }
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGBREAK'] as const) {
    try {
      process.on(signal, () => {})
    } catch {
      // Not every system has every signal.
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
    // The server inherits what pg_ctl has: a pipe of ours would stay open as long as the server runs.
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
    // pg_ctl starts it without the rights of an administrator, with which PostgreSQL does not run on Windows.
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

// esbuild (0.28, with keepNames) writes calls of `__name` into functions.
const NODE_SCRIPT = `globalThis.__name ??= (named) => named;(${supervise.toString()})()`

/** Root's temporary folder may be closed to the server's user, and the path of a Unix socket may hold 103 bytes at most. */
function candidateDirectories(): string[] {
  const name = `pg-iam-${randomBytes(6).toString('hex')}`
  const folders = process.platform === 'win32' ? [tmpdir()] : [tmpdir(), '/tmp']
  return [...new Set(folders)]
    .map((folder) => join(folder, name))
    .filter((directory) => process.platform === 'win32' || Buffer.byteLength(directory) <= 80)
}

/** Without PGDATA, PGPORT, PGOPTIONS and the like, with messages that can be recognised, and without what Node would load. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:PG|LC_|LANG|NODE_OPTIONS$)/.test(name),
  )
  return { ...Object.fromEntries(kept), LC_ALL: 'C', ELECTRON_RUN_AS_NODE: '1' }
}

/** The pipes are sockets, which their types do not say. */
function handles(child: ChildProcess): (ChildProcess | Socket)[] {
  return [child, ...child.stdio.filter((stream) => stream instanceof Socket)]
}
