/** Runs the scenarios of one client in a separate process, which is monitored and replaced if it is lost. */
import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { ChildMessage, ChildOrder } from './child.js'
import type { Lost, Result } from './scenario.js'

/**
 * Resolves with the results in the order of the scenarios.
 *
 * @param ended called after each scenario; if it returns `false`, the remaining ones are skipped
 */
export async function runHostile(
  order: ChildOrder,
  ended: (index: number, result: Result) => boolean | void = () => {},
): Promise<Result[]> {
  const results: Result[] = []
  let goesOn = true
  while (goesOn && results.length < order.scenarios.length) {
    const first = results.length
    const add = (result: Result): boolean => {
      results.push(result)
      goesOn = ended(results.length - 1, result) !== false
      return goesOn
    }
    const lost = await watch({ ...order, scenarios: order.scenarios.slice(first) }, add)
    if (lost === undefined || !goesOn) break
    if (lost.isStarted) add(lost.result)
    else throw new Error(`the process for ${order.client} did not start: ${lost.result.output}`)
  }
  return results
}

interface LostChild {
  readonly result: Lost
  readonly isStarted: boolean
}

/** Resolves when all scenarios have run, or with how the process ended. */
function watch(
  order: ChildOrder,
  add: (result: Result) => boolean,
): Promise<LostChild | undefined> {
  const child = startChild('child', ['--max-old-space-size=1024'])
  let output = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-KEPT_CHARACTERS)
  })
  let isStarted = false
  let isFrozen = false
  let isDone = false
  let heardAt = performance.now()
  let lookedAt = heardAt
  const timer = setInterval(() => {
    const now = performance.now()
    // If this process was delayed itself, it may not have read all messages yet.
    if (now - lookedAt > 4 * LOOK_EVERY_MS) heardAt = now
    lookedAt = now
    if (!isStarted || now - heardAt < order.timing.freezeMs) return
    isFrozen = true
    child.kill('SIGKILL')
  }, LOOK_EVERY_MS)
  child.on('message', (told: ChildMessage) => {
    heardAt = performance.now()
    isStarted = true
    if (told.type !== 'ended') return
    isDone = told.index === order.scenarios.length - 1
    if (!add(told.observation)) child.kill('SIGKILL')
  })
  child.on('error', () => {})
  child.send(order)
  return new Promise((resolve) => {
    child.once('close', () => {
      clearInterval(timer)
      const result: Lost = { lost: isFrozen ? 'frozen' : 'died', output }
      resolve(isDone ? undefined : { result, isStarted })
    })
  })
}

const KEPT_CHARACTERS = 2_000
const LOOK_EVERY_MS = 250

/** Starts a process with a module of this directory. */
export function startChild(module: string, nodeOptions: readonly string[]): ChildProcess {
  const test = join(process.cwd(), 'test')
  const hook = join(test, 'support', 'typescript-hook.cjs')
  const kept = Object.entries(process.env).filter(([name]) => !/^(?:PG|NODE_|JEST_)/.test(name))
  return spawn(
    process.execPath,
    [...nodeOptions, '--require', hook, '--eval', ENTRY, join(test, 'hostile', `${module}.ts`)],
    { env: Object.fromEntries(kept), stdio: ['ignore', 'ignore', 'pipe', 'ipc'] },
  )
}

const ENTRY = 'require(process.argv[1])'
