/** Runs one client in a process of its own, so that what it leaves behind can be told from what others do. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { endOf } from '../../test/resilience/until.js'
import {
  STOP,
  type CallCounts,
  type ClientMessage,
  type ClientOrder,
  type ClientReport,
} from './messages.js'

export interface ClientProcess {
  /** What it has last told. */
  readonly counts: CallCounts | undefined
  /** Resolves when it is at work, or has died. */
  readonly started: Promise<void>
  /** Tells it to end in good order. */
  stop(): void
  readonly ended: Promise<ClientEnd>
}

export interface ClientEnd {
  /** Missing where the process died before it had one. */
  readonly report: ClientReport | undefined
  /** The exit code or the signal; `hangs` where the process did not end by itself after its report. */
  readonly exit: number | NodeJS.Signals | 'hangs' | null
  /** The last that it wrote to its standard error. */
  readonly lastWords: string
}

export function startClientProcess(order: ClientOrder): ClientProcess {
  const file = fileURLToPath(new URL('child/main.js', import.meta.url))
  const child = fork(file, {
    execArgv: ['--expose-gc', '--enable-source-maps'],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let counts: CallCounts | undefined
  let report: ClientReport | undefined
  let lastWords = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    lastWords = (lastWords + text).slice(-KEPT_CHARACTERS)
  })
  const disconnected = new Promise<void>((resolve) => void child.once('disconnect', resolve))
  const told = new Promise<void>((resolve) => void child.once('message', () => resolve()))
  child.on('message', (message: ClientMessage) => {
    if (message.type === 'progress') counts = message.counts
    else report = message.report
  })
  // It may be dead already; what counts is its end.
  child.on('error', () => {})
  const closed = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('close', (code, deadBy) => resolve(code ?? deadBy))
  })
  child.send(order)

  const end = async (): Promise<ClientEnd> => {
    await disconnected
    const closing: ClientEnd['exit'] = await endOf(closed)
    if (closing === 'hangs') {
      child.kill('SIGKILL')
      await closed
    }
    return { report, exit: closing, lastWords }
  }
  return {
    get counts() {
      return counts
    },
    started: Promise.race([told, disconnected]),
    stop: () => {
      if (child.connected) child.send(STOP)
    },
    ended: end(),
  }
}

const KEPT_CHARACTERS = 4_000
