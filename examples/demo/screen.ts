/** Where the demo shows itself: a terminal whose last lines are painted again and again, or a plain stream of lines. */
import { createPaint, type Paint } from './paint.js'

export interface Screen {
  readonly paint: Paint
  /** Whether `repaint` does anything. */
  readonly isLive: boolean
  /** Writes text below what was printed so far, in place of what was last repainted. */
  print(text: string): void
  /** Shows a frame in place of the last one, on a terminal that is large enough. */
  repaint(frame: string): void
  /** Leaves the terminal as it was found. */
  close(): void
}

export interface ScreenStream {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
}

const WIDTH = 80
const HEIGHT = 16

/** Neither escape codes nor repainting on what is not a terminal, or is a dumb or a small one; no colours under NO_COLOR. */
export function createScreen(
  stream: ScreenStream,
  env: Readonly<Record<string, string | undefined>>,
): Screen {
  const { columns = 0, rows = 0 } = stream
  const isTerminal = stream.isTTY === true && env['TERM'] !== 'dumb'
  const isLive = isTerminal && columns >= WIDTH && rows >= HEIGHT
  const hasNoColor = env['NO_COLOR'] !== undefined && env['NO_COLOR'] !== ''
  let lines = 0
  // The return is for what the terminal itself echoed in between, such as ^C.
  const erase = (): string => (lines === 0 ? '' : `\r\u001B[${lines}A\u001B[J`)
  if (isLive) stream.write(HIDE_CURSOR)
  return {
    paint: createPaint(isTerminal && !hasNoColor),
    isLive,
    print(text) {
      stream.write(`${erase()}${text}\n`)
      lines = 0
    },
    repaint(frame) {
      if (!isLive) return
      stream.write(`${erase()}${frame}\n`)
      lines = frame.split('\n').length
    },
    close() {
      if (isLive) stream.write(SHOW_CURSOR)
    },
  }
}

const HIDE_CURSOR = '\u001B[?25l'
const SHOW_CURSOR = '\u001B[?25h'
