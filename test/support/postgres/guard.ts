/** The process that starts the test server, and ends it and removes its files however this process ends. */
import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { runInThisContext } from 'node:vm'
import type { ServerUser } from './server-user.js'

export interface Guard {
  /** A directory that only the server's user (and root) can enter; it goes with the guard. */
  readonly directory: string
  /** Makes the data directory; the later commands use the same programs. Resolves with the exit code. */
  initdb(binDirectory: string): Promise<number>
  /** Starts the server and waits until it accepts connections. Resolves with the exit code. */
  start(port: number): Promise<number>
  /** Lets this process exit while the guard is there; the server ends with it. */
  unref(): void
  /** Ends the server at once, removes the directory, and waits for both. */
  close(): Promise<void>
}

/**
 * Starts a guard. It reads commands from a pipe that only this process holds: when the pipe closes, be it by `close`, exit or
 * SIGKILL, the guard finishes the command that runs, shuts the server down and removes the directory. As it also makes
 * the directory, there is no moment at which something could be left behind. It holds our standard error until it is done.
 */
export async function startGuard(user: ServerUser | undefined): Promise<Guard> {
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'postgres-guard', ...candidateDirectories()], {
    ...user,
    cwd: '/', // The current directory may be closed to the server's user, and initdb insists on reading it.
    detached: true, // A Ctrl-C in the terminal goes to the whole foreground group; the guard must outlive us.
    env: serverEnvironment(),
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'close')
  // Looked at where it is waited for; until then it must not count as unhandled.
  ended.catch(() => {})
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const stopWatching = exitWithParent()
  // The guard may be gone when we write to it; what counts is the answer that then does not come.
  child.stdin.on('error', () => {})

  const answer = async (command: string): Promise<string> => {
    const line = await answers.next()
    if (line.done === true) {
      await ended
      throw new Error(`the guard of the PostgreSQL server ended during "${command}"`)
    }
    return line.value.slice(command.length + 1)
  }
  const run = async (command: string, argument: string | number): Promise<number> => {
    child.stdin.write(`${command} ${argument}\n`)
    return Number(await answer(command))
  }

  return {
    directory: await answer('directory'),
    initdb: (binDirectory) => run('initdb', binDirectory),
    start: (port) => run('start', port),
    unref: () => {
      for (const handle of handles(child)) handle.unref()
    },
    close: async () => {
      stopWatching()
      for (const handle of handles(child)) handle.ref()
      child.stdin.end()
      await ended
    },
  }
}

// `read` fails at the end of the pipe, which is our end. The traps do nothing but keep the shell alive; a trap, unlike an
// ignored signal, is not inherited by the server. The server stays a descendant, so that it is waited for and no zombie
// stays behind in a container whose first process does not reap.
const SCRIPT = `
trap : INT TERM HUP PIPE
for directory in "$@"; do
  mkdir -m 700 "$directory" 2>/dev/null && cd "$directory" && break
  directory=
done
[ -n "$directory" ] || { echo "$0: could not make a directory, tried $*" >&2; exit 1; }
echo "directory $directory" 2>/dev/null

start() {
  rm -f ended
  {
    "$bin/postgres" -D "$directory/data" -p "$1" >server.log 2>&1 </dev/null &
    echo $! >server.pid
    wait $!
    : >ended
  } &
  until [ -e ended ] || grep -q ^ready data/postmaster.pid 2>/dev/null; do sleep 0.02; done
  [ ! -e ended ]
}

while read -r command argument; do
  case $command in
    initdb)
      bin=$argument
      "$bin/initdb" -D "$directory/data" -U postgres --auth-local=trust --auth-host=scram-sha-256 \\
        --encoding=UTF8 --no-locale --no-sync >initdb.log 2>&1 </dev/null ;;
    start) start "$argument" ;;
  esac
  echo "$command $?" 2>/dev/null
done
[ ! -e server.pid ] || [ -e ended ] || kill -QUIT "$(cat server.pid)"
until wait; do :; done
cd / && rm -rf "$directory"
`

/** Root's temporary folder may be closed to the server's user, and the path of a Unix socket may hold 103 bytes at most. */
function candidateDirectories(): string[] {
  const name = `pg-iam-${randomBytes(6).toString('hex')}`
  return [...new Set([tmpdir(), '/tmp'])]
    .map((folder) => join(folder, name))
    .filter((directory) => Buffer.byteLength(directory) <= 80)
}

/** Without PGDATA, PGPORT, PGOPTIONS and the like, and with messages that can be recognised. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(?:PG|LC_|LANG)/.test(name))
  return { ...Object.fromEntries(kept), LC_ALL: 'C' }
}

/**
 * Ends this process when the one that forked it is gone. A jest worker would go on for ever when its jest was killed, and its
 * servers with it. Returns how to undo that.
 */
function exitWithParent(): () => void {
  // The sandbox that jest runs tests in has a copy of `process`, which no event ever reaches.
  const realProcess: NodeJS.Process = runInThisContext('process')
  if (!realProcess.connected) return () => {}
  const exit = (): void => realProcess.exit(1)
  const isFirst = ['message', 'disconnect'].every((event) => realProcess.listenerCount(event) === 0)
  realProcess.once('disconnect', exit)
  // To listen is not to wait: without this a process that has nothing else to do could not end.
  if (isFirst) realProcess.channel?.unref()
  return () => realProcess.off('disconnect', exit)
}

/** The pipes are sockets, which their types do not say. */
function handles(child: ChildProcess): (ChildProcess | Socket)[] {
  return [child, ...child.stdio.filter((stream) => stream instanceof Socket)]
}
