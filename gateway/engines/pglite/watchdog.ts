/** Ends a job that takes too long: by asking PostgreSQL to cancel it, and where that is not heard, by force. */

export interface Watchdog {
  /** A job begins. */
  start(): void
  /** The job's own limit, in milliseconds. The engine's holds where it is lower. */
  setLimit(milliseconds: number): void
  /** The job waits for its client: that time does not count, and it cannot be expected to listen. */
  pause(): void
  /** It goes on, with its whole time anew. */
  resume(): void
  /** Cancels what the job is doing now. */
  cancel(): void
  /** Cancels whatever the job is doing until it ends. */
  abandon(): void
  stop(): void
}

/** `full` is what a worker says when its files have no more room. */
export type CancelReason = 'asked' | 'timeout' | 'full'

export interface WatchdogSettings {
  /** How long a job may run before it is cancelled. */
  limitMs: number
  /** How long a job may take to notice that it was cancelled. */
  graceMs: number
  /** Tells the job. */
  onCancel(reason: CancelReason): void
  /** Whether the job has not noticed yet. What it makes of it is its own affair: SQL may catch it. */
  isPending(): boolean
  /** The job does not notice. */
  onStuck(): void
}

export function createWatchdog(settings: WatchdogSettings): Watchdog {
  let limit = settings.limitMs
  let isPaused = false
  let isAbandoned = false
  let timer: NodeJS.Timeout | undefined

  const arm = (): void => {
    clearTimeout(timer)
    if (!isPaused) timer = setTimeout(() => cancel('timeout'), limit)
  }
  const cancel = (reason: CancelReason): void => {
    settings.onCancel(reason)
    look(settings.graceMs)
  }
  const look = (leftMs: number): void => {
    clearTimeout(timer)
    if (isPaused) return
    if (leftMs <= 0) return settings.onStuck()
    const pauseMs = Math.min(LOOK_MS, leftMs)
    timer = setTimeout(() => {
      if (settings.isPending()) look(leftMs - pauseMs)
      else if (isAbandoned) cancel('asked')
      else arm()
    }, pauseMs)
  }
  return {
    start() {
      limit = settings.limitMs
      isPaused = false
      isAbandoned = false
      arm()
    },
    setLimit(milliseconds) {
      limit = Math.min(milliseconds, settings.limitMs)
      if (!settings.isPending()) arm()
    },
    pause() {
      isPaused = true
      clearTimeout(timer)
    },
    resume() {
      if (!isPaused) return
      isPaused = false
      if (isAbandoned) cancel('asked')
      else if (settings.isPending()) look(settings.graceMs)
      else arm()
    },
    cancel: () => cancel('asked'),
    abandon() {
      isAbandoned = true
      cancel('asked')
    },
    stop() {
      clearTimeout(timer)
    },
  }
}

const LOOK_MS = 50
