/** Replaces what PGlite's program imports from JavaScript where that would freeze or end the engine. */
import type { PostgresProgram } from './postgres-program.js'

type ImportedFunction = ((...values: never[]) => unknown) & { sig?: string }
export type ProgramImports = Record<string, Record<string, ImportedFunction>>

/** @returns a function that must be told of the program, which exists only after its imports do */
export function hookImports(imports: ProgramImports): (program: PostgresProgram) => void {
  const { env, wasi_snapshot_preview1: wasi } = imports
  if (env === undefined || wasi === undefined) throw new Error('PGlite imports other modules')
  let program: PostgresProgram | undefined
  let stackOverflow = 0
  const programOf = (): PostgresProgram | undefined => program
  // The alarm behind idle_in_transaction_session_timeout and its like would end the one session that all clients share.
  env['_setitimer_js'] = () => 0
  wasi['clock_time_get'] = nappingClock(wasi['clock_time_get']!, programOf)
  const invoke = env['invoke_v'] as unknown as (index: number) => void
  // This trampoline catches what PostgreSQL raises, and hands it to the nearest handler in the program.
  const raiseStackOverflow = (): void => invoke(stackOverflow)
  for (const [name, trampoline] of Object.entries(env)) {
    if (name.startsWith('invoke_'))
      env[name] = guardedInvoke(name, trampoline, programOf, raiseStackOverflow)
  }
  return (started) => {
    program = started
    stackOverflow = started.module.addFunction(() => failStackCheck(started), 'v')
  }
}

/**
 * The clock, with naps for a program that only looks at it.
 *
 * PGlite has nothing to sleep on, so pg_sleep reads the clock in a loop: it takes a whole core and never learns of a cancel. Here
 * such a loop sleeps on PostgreSQL's cancel flag, and a cancel sets the latch that the loop waits for.
 */
function nappingClock(
  clock: ImportedFunction,
  programOf: () => PostgresProgram | undefined,
): ImportedFunction {
  let calls = 0
  return (...values) => {
    if (++calls % CALLS_BETWEEN_LOOKS === 0) {
      const program = programOf()
      if (program !== undefined && isSleeping(program)) nap(program)
    }
    return clock(...values)
  }
}

/** A sleeping loop reads the clock about seven times in a microsecond; EXPLAIN ANALYZE reads it, too, but is no such loop. */
const CALLS_BETWEEN_LOOKS = 4_096
const NAP_MS = 2

/** An exported function's name is its number in the program, and a stack trace names functions by that. */
function isSleeping({ exports }: PostgresProgram): boolean {
  const stack = new Error('for its stack').stack ?? ''
  return [exports.WaitLatch, exports.nanosleep, exports.usleep].some((sleep) =>
    stack.includes(`wasm-function[${sleep.name}]`),
  )
}

function nap({ exports, memory }: PostgresProgram): void {
  const cancelPending = exports.QueryCancelPending.value
  memory.sleepWhile(cancelPending, 0, NAP_MS)
  if (memory.word(cancelPending) !== 0) memory.setWord(memory.word(exports.MyLatch.value), 1)
}

/**
 * A trampoline that turns an overflow of JavaScript's stack into the error that PostgreSQL reports for its own.
 *
 * PostgreSQL measures its depth by a stack in its memory, which some functions hardly use, such as the parser of JSON. So the
 * stack of the thread can end first, with a RangeError that would leave PostgreSQL in the middle of things. Trampolines stand
 * wherever PostgreSQL can catch an error, so this is where one must be raised.
 */
function guardedInvoke(
  name: string,
  invoke: ImportedFunction,
  programOf: () => PostgresProgram | undefined,
  raiseStackOverflow: () => void,
): ImportedFunction {
  // Functions with a 64-bit result return a BigInt. The program ignores the value once an error is raised.
  const noResult = name.startsWith('invoke_j') ? 0n : 0
  const guarded: ImportedFunction = (...values) => {
    const stack = programOf()?.exports.emscripten_stack_get_current()
    try {
      return invoke(...values)
    } catch (error) {
      if (stack === undefined || !(error instanceof RangeError)) throw error
      programOf()!.exports._emscripten_stack_restore(stack)
      raiseStackOverflow()
      return noResult
    }
  }
  // Emscripten reads the signature where it puts the function into the program's table.
  if (invoke.sig !== undefined) guarded.sig = invoke.sig
  return guarded
}

/** Has PostgreSQL check its stack where it looks too deep, so that it raises 54001. Never returns. */
export function failStackCheck({ exports }: PostgresProgram): void {
  exports._emscripten_stack_restore(exports.emscripten_stack_get_current() - TOO_DEEP_BYTES)
  exports.check_stack_depth()
}

/** More than max_stack_depth, less than the 8 MB of the program's stack. */
const TOO_DEEP_BYTES = 1_000_000
