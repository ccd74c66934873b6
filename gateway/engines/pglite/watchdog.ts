/** Ends a job that takes too long: first by asking PostgreSQL to cancel it, then by force. */

export interface Watchdog {
  /** A job begins. */
  start(): void
  /** The job's own limit, in milliseconds. The engine's holds where it is lower. */
  setLimit(milliseconds: number): void
  /** The job waits for its client: that time does not count, and it cannot be expected to listen. */
  pause(): void
  /** It goes on, with its whole time anew. */
  resume(): void
  /** Cancels what the job is doing. */
  cancel(): void
  /** The job has listened to the cancel, and goes on with something else. */
  heard(): void
  stop(): void
}

export type CancelReason = 'asked' | 'timeout'

export interface WatchdogSettings {
  /** How long a job may run before it is cancelled. */
  limitMs: number
  /** How long a job may go on after that before the engine is ended. */
  graceMs: number
  /** Asks for the cancel. Called again and again, since a cancel may come between two steps and be lost. */
  onCancel(reason: CancelReason): void
  /** The job does not listen. */
  onStuck(): void
}

export function createWatchdog(settings: WatchdogSettings): Watchdog {
  let limit = settings.limitMs
  let cancelled: CancelReason | undefined
  let timer: NodeJS.Timeout | undefined
  let repeat: NodeJS.Timeout | undefined

  const disarm = (): void => {
    clearTimeout(timer)
    clearInterval(repeat)
  }
  const arm = (): void => {
    disarm()
    if (cancelled === undefined) timer = setTimeout(() => begin('timeout'), limit)
    else insist(cancelled)
  }
  const begin = (reason: CancelReason): void => {
    cancelled = reason
    insist(reason)
  }
  const insist = (reason: CancelReason): void => {
    disarm()
    timer = setTimeout(() => {
      disarm()
      settings.onStuck()
    }, settings.graceMs)
    repeat = setInterval(() => settings.onCancel(reason), REPEAT_MS)
    settings.onCancel(reason)
  }
  let paused = false
  return {
    start() {
      limit = settings.limitMs
      cancelled = undefined
      paused = false
      arm()
    },
    setLimit(milliseconds) {
      limit = Math.min(milliseconds, settings.limitMs)
      if (cancelled === undefined) arm()
    },
    pause() {
      paused = true
      disarm()
    },
    resume() {
      if (!paused) return
      paused = false
      arm()
    },
    cancel() {
      if (cancelled !== undefined) return
      if (!paused) return begin('asked')
      cancelled = 'asked'
      settings.onCancel('asked')
    },
    heard() {
      cancelled = undefined
      if (!paused) arm()
    },
    stop: disarm,
  }
}

const REPEAT_MS = 50
